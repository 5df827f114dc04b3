package runtime

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/cc"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/tree"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/world"
)

// LatestRevision is the newest revision of an app, nil when there is none.
func LatestRevision(tx *cc.Tx, app string) *world.Revision {
	all := tx.W.Revisions.By("app", app)
	if len(all) == 0 {
		return nil
	}
	return all[len(all)-1]
}

// Revise records what the app is now, if that differs from its latest revision and the app has the feature on. It
// returns the revision that is now in force, nil when the app has none. Going back to an earlier revision always makes
// a new one, of what that one recorded; back is nil otherwise.
func Revise(tx *cc.Tx, a *world.App, back *world.Revision) *world.Revision {
	last := LatestRevision(tx, a.GUID)
	if a.RevisionsDisabled || a.Droplet == "" {
		return nil
	}
	r := &world.Revision{Base: tx.W.Base(), App: a.GUID, Version: 1, Droplet: a.Droplet, Env: maps.Clone(a.Env), Commands: map[string]string{}}
	r.Created, r.Updated = tx.Now, tx.Now
	for _, p := range tx.W.Processes.By("app", a.GUID) {
		r.Commands[p.Type] = p.Command
	}
	for _, s := range tx.W.Sidecars.By("app", a.GUID) {
		r.Sidecars = append(r.Sidecars, *s)
	}
	if back != nil {
		r.Droplet, r.Env, r.Commands, r.Sidecars = back.Droplet, maps.Clone(back.Env), maps.Clone(back.Commands), slices.Clone(back.Sidecars)
	}
	if last == nil {
		r.Description = "Initial revision."
	} else {
		why := reasons(last, r)
		if len(why) == 0 && back == nil {
			return last
		}
		r.Version = last.Version + 1
		if back != nil {
			why = append(why, fmt.Sprintf("Rolled back to revision %d.", back.Version))
		}
		r.Description = strings.Join(why, " ")
	}
	tx.W.Revisions.Insert(r)
	Audit(tx, a, "audit.app.revision.create", tree.O("revision_guid", r.GUID, "revision_version", r.Version))
	return r
}

// Same reports whether a revision is what the latest one of its app is.
func Same(tx *cc.Tx, r *world.Revision) bool {
	last := LatestRevision(tx, r.App)
	return last != nil && len(reasons(last, r)) == 0
}

// reasons says in the controller's words, sorted, how two revisions differ.
func reasons(old, r *world.Revision) []string {
	var why []string
	if old.Droplet != r.Droplet {
		why = append(why, "New droplet deployed.")
	}
	if !maps.Equal(old.Env, r.Env) || (old.Env == nil) != (r.Env == nil) { // an empty environment is not none
		why = append(why, "New environment variables deployed.")
	}
	for t, c := range r.Commands {
		was, known := old.Commands[t]
		switch {
		case !known:
			why = append(why, fmt.Sprintf("New process type '%s' added.", t))
		case c == was:
		case was == "":
			why = append(why, fmt.Sprintf("Custom start command added for '%s' process.", t))
		case c == "":
			why = append(why, fmt.Sprintf("Custom start command removed for '%s' process.", t))
		default:
			why = append(why, fmt.Sprintf("Custom start command updated for '%s' process.", t))
		}
	}
	for t := range old.Commands {
		if _, still := r.Commands[t]; !still {
			why = append(why, fmt.Sprintf("Process type '%s' removed.", t))
		}
	}
	if !sameSidecars(old.Sidecars, r.Sidecars) {
		why = append(why, "Sidecars updated.")
	}
	slices.Sort(why)
	return why
}

func sameSidecars(a, b []world.Sidecar) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		j := slices.IndexFunc(b, func(s world.Sidecar) bool { return s.Name == a[i].Name })
		if j < 0 || a[i].Command != b[j].Command || !slices.Equal(a[i].ProcessTypes, b[j].ProcessTypes) || !sameInt(a[i].Memory, b[j].Memory) {
			return false
		}
	}
	return true
}

func sameInt(a, b *int) bool {
	return a == nil && b == nil || a != nil && b != nil && *a == *b
}

// StartNow is what start and restart do: record a revision, then bring the app up with it. An app that is up already
// gets no revision.
func StartNow(tx *cc.Tx, a *world.App) {
	var r *world.Revision
	if !a.Started {
		r = Revise(tx, a, nil)
	}
	Start(tx, a)
	if r != nil {
		for _, p := range tx.W.Processes.By("app", a.GUID) {
			p.Revision = r.GUID
		}
	}
}
