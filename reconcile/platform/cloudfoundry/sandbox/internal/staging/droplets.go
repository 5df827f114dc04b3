package staging

import (
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"strings"

	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/apps"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/cc"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/runtime"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/tree"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/world"
)

func registerDroplets(s *cc.Server) {
	s.Read("GET /v3/droplets", listDroplets)
	s.Write("POST /v3/droplets", createDroplet)
	s.Read("GET /v3/droplets/{guid}", showDroplet)
	s.Write("PATCH /v3/droplets/{guid}", updateDroplet)
	s.Write("DELETE /v3/droplets/{guid}", deleteDroplet)
	s.Write("POST /v3/droplets/{guid}/upload", uploadDroplet)
	s.Write("GET /v3/droplets/{guid}/download", downloadDroplet)
	s.Read("GET /v3/apps/{guid}/droplets", appDroplets)
	s.Read("GET /v3/apps/{guid}/droplets/current", showCurrent)
	s.When("droplet.ready", dropletReady)
	s.Job("droplet.delete", func(tx *cc.Tx, j *world.Job) error {
		tx.W.Droplets.Delete(j.Args["guid"])
		return nil
	})
	s.Job("droplet.upload", func(tx *cc.Tx, j *world.Job) error {
		dropletReady(tx, j.Args["guid"])
		return nil
	})
}

var droplets = &cc.List[*world.Droplet]{
	Filters: []cc.Filter[*world.Droplet]{
		cc.In("app_guid", func(_ *cc.Req, d *world.Droplet) string { return d.App }),
		cc.In("app_guids", func(_ *cc.Req, d *world.Droplet) string { return d.App }),
		{Name: "current", Make: func(q *cc.Req, values []string) (func(*world.Droplet) bool, string) {
			if !slices.Equal(values, []string{"true"}) {
				return nil, ""
			}
			return func(d *world.Droplet) bool {
				a, ok := q.W.Apps.Get(d.App)
				return ok && a.Droplet == d.GUID
			}, ""
		}},
		cc.In("organization_guids", func(q *cc.Req, d *world.Droplet) string { return orgOf(q, d.App) }),
		cc.In("package_guid", func(_ *cc.Req, d *world.Droplet) string { return d.Package }),
		cc.In("space_guids", func(q *cc.Req, d *world.Droplet) string { return spaceOf(q, d.App) }),
		cc.In("states", func(_ *cc.Req, d *world.Droplet) string { return d.State }),
		cc.Labels[*world.Droplet](),
	},
	Show: func(q *cc.Req, d *world.Droplet) any { return presentDroplet(q, d, true) },
}

func listDroplets(q *cc.Req) (*cc.Reply, error) {
	sees := q.Sees()
	return droplets.Answer(q, q.W.Droplets.All(), func(d *world.Droplet) bool { return sees.Space(spaceOf(q, d.App)) })
}

func appDroplets(q *cc.Req) (*cc.Reply, error) {
	a, err := apps.Find(q)
	if err != nil {
		return nil, err
	}
	return droplets.Answer(q, slices.Values(q.W.Droplets.By("app", a.GUID)), nil)
}

func packageDroplets(q *cc.Req) (*cc.Reply, error) {
	p, a, err := findPackage(q)
	if err != nil {
		return nil, err
	}
	return droplets.Answer(q, slices.Values(q.W.Droplets.By("app", a.GUID)), func(d *world.Droplet) bool { return d.Package == p.GUID })
}

func presentBuildpacks(d *world.Droplet) []any {
	out := []any{}
	for _, b := range d.Buildpacks {
		out = append(out, tree.O("name", apps.BuildpackName(b), "detect_output", "", "buildpack_name", apps.BuildpackName(b), "version", "1.0.0"))
	}
	return out
}

// presentDroplet shows a droplet; process types are secret, and lists hide them from nobody who sees secrets.
func presentDroplet(q *cc.Req, d *world.Droplet, _ bool) tree.Obj {
	self := "/v3/droplets/" + d.GUID
	links := tree.O("self", q.Link(self), "app", q.Link("/v3/apps/"+d.App),
		"assign_current_droplet", q.Action("/v3/apps/"+d.App+"/relationships/current_droplet", "PATCH"))
	if d.Package != "" {
		links.Set("package", q.Link("/v3/packages/"+d.Package))
	}
	if d.Lifecycle != world.Docker {
		switch {
		case d.State == world.Staged:
			links.Set("download", q.Link(self+"/download"))
		case d.State == world.AwaitingUpload:
			links.Set("upload", q.Action(self+"/upload", "POST"))
		}
	}
	var checksum, types any
	if d.Checksum != "" {
		checksum = tree.O("type", "sha256", "value", d.Checksum)
	}
	meta := any("")
	if q.Secrets(spaceOf(q, d.App)) {
		types = cc.StringMap(d.ProcessTypes)
	} else {
		types, meta = tree.O("redacted_message", apps.Hidden), apps.Hidden
	}
	var found any
	if d.Lifecycle != world.Docker {
		found = presentBuildpacks(d)
	}
	return cc.Head(&d.Base,
		"state", d.State, "error", cc.OrNil(d.Error), "lifecycle", tree.O("type", d.Lifecycle, "data", tree.Obj{}),
		"checksum", checksum, "buildpacks", found, "stack", cc.OrNil(d.Stack), "image", cc.OrNil(d.Image),
		"execution_metadata", meta, "process_types", types, "relationships", tree.O("app", cc.One(d.App)),
		"metadata", cc.Meta(&d.Base), "links", links)
}

func findDroplet(q *cc.Req) (*world.Droplet, *world.App, error) {
	if d, ok := q.W.Droplets.Get(q.Var("guid")); ok {
		if a := appOf(q, d.App); a != nil {
			return d, a, nil
		}
	}
	return nil, nil, cc.NotFound("Droplet")
}

func showDroplet(q *cc.Req) (*cc.Reply, error) {
	d, _, err := findDroplet(q)
	if err != nil {
		return nil, err
	}
	return cc.OK(presentDroplet(q, d, false)), nil
}

func showCurrent(q *cc.Req) (*cc.Reply, error) {
	a, err := apps.Find(q)
	if err != nil {
		return nil, err
	}
	d := runtime.Droplet(&q.Tx, a)
	if d == nil {
		return nil, cc.NotFound("Droplet")
	}
	return cc.OK(presentDroplet(q, d, false)), nil
}

func updateDroplet(q *cc.Req) (*cc.Reply, error) {
	d, _, err := findDroplet(q)
	if err != nil {
		return nil, err
	}
	if err := patchMeta(q, &d.Base, d.App); err != nil {
		return nil, err
	}
	return cc.OK(presentDroplet(q, d, false)), nil
}

func deleteDroplet(q *cc.Req) (*cc.Reply, error) {
	d, a, err := findDroplet(q)
	if err != nil {
		return nil, err
	}
	if err := q.MayWriteSpace(a.Space); err != nil {
		return nil, err
	}
	if a.Droplet == d.GUID {
		return nil, cc.Unprocessable("The droplet is currently used by app with guid %q.", a.GUID)
	}
	runtime.Audit(&q.Tx, a, "audit.app.droplet.delete", tree.O("droplet_guid", d.GUID))
	return cc.AcceptedJob(q.StartJob(cc.JobSpec{Operation: "droplet.delete", Args: map[string]string{"guid": d.GUID}})), nil
}

func createDroplet(q *cc.Req) (*cc.Reply, error) {
	source := q.Query.Get("source_guid")
	fields := []string{"relationships"} // no metadata: it can only be patched (droplet_create_message.rb)
	if source == "" {
		fields = append(fields, "process_types")
	}
	b, err := q.Body(fields...)
	if err != nil {
		return nil, err
	}
	rel := b.Relationships([]string{"app"})
	var types tree.Obj
	if v := b.Get("process_types"); v != nil {
		var ok bool
		if types, ok = v.(tree.Obj); !ok {
			b.Add("Process types must be an object")
		}
		for _, f := range types {
			if _, ok := f.Value.(string); !ok {
				b.Add("Process types value must be a string")
			}
			if f.Key == "" {
				b.Add("Process types key must not be empty")
			}
		}
	}
	if err := b.Err(); err != nil {
		return nil, err
	}
	var src *world.Droplet
	if source != "" {
		var ok bool
		if src, ok = q.W.Droplets.Get(source); !ok || appOf(q, src.App) == nil {
			return nil, cc.NotFound("Droplet")
		}
	}
	a := appOf(q, cc.RelGUID(rel, "app"))
	if a == nil {
		if src != nil {
			return nil, cc.NotFound("App")
		}
		return nil, cc.Unprocessable("App with guid %q does not exist, or you do not have access to it.", cc.RelGUID(rel, "app"))
	}
	if err := q.MayWriteSpace(a.Space); err != nil {
		return nil, err
	}
	if src != nil {
		return copyDroplet(q, src, a), nil
	}
	d := &world.Droplet{Base: q.W.Base(), App: a.GUID, State: world.AwaitingUpload, Lifecycle: world.Buildpack, ProcessTypes: map[string]string{}}
	for _, f := range types {
		d.ProcessTypes[f.Key] = f.Value.(string)
	}
	if len(types) == 0 {
		d.ProcessTypes["web"] = ""
	}
	q.W.Droplets.Insert(d)
	runtime.Audit(&q.Tx, a, "audit.app.droplet.create", tree.O("droplet_guid", d.GUID))
	return cc.Created(presentDroplet(q, d, false)), nil
}

func copyDroplet(q *cc.Req, src *world.Droplet, a *world.App) *cc.Reply {
	d := &world.Droplet{
		Base: q.W.Base(), App: a.GUID, State: world.Copying, Lifecycle: src.Lifecycle, Buildpacks: src.Buildpacks, Stack: src.Stack, Image: src.Image,
		Username: src.Username, Password: src.Password, ProcessTypes: src.ProcessTypes, Bits: src.Bits, Faults: src.Faults, Copy: true,
	}
	if d.Lifecycle == world.Docker {
		d.State = world.Staged
	} else {
		q.After(q.S.Upload, "droplet.ready", d.GUID)
	}
	q.W.Droplets.Insert(d)
	runtime.Audit(&q.Tx, a, "audit.app.droplet.create", tree.O("droplet_guid", d.GUID, "request", tree.O("source_droplet_guid", src.GUID)))
	return cc.Created(presentDroplet(q, d, false))
}

func uploadDroplet(q *cc.Req) (*cc.Reply, error) {
	d, a, err := findDroplet(q)
	if err != nil {
		return nil, err
	}
	if err := q.MayWriteSpace(a.Space); err != nil {
		return nil, err
	}
	bits, err := q.Part("bits")
	if err != nil {
		return nil, err
	}
	const invalid = "Uploaded droplet file is invalid: "
	switch name := q.PartName("bits"); {
	case bits == nil:
		return nil, cc.Unprocessable(invalid + "A droplet tgz file must be uploaded as 'bits'")
	case !strings.HasSuffix(name, ".tgz") && !strings.HasSuffix(name, ".tar.gz"):
		return nil, cc.Unprocessable(invalid+"%s is not a tgz", name)
	case len(bits) == 0:
		return nil, cc.Unprocessable(invalid+"%s cannot be empty", name)
	}
	if d.State != world.AwaitingUpload {
		return nil, cc.Unprocessable("Droplet may be uploaded only once. Create a new droplet to upload bits.")
	}
	d.Bits, d.State = bits, world.ProcessingUpload
	q.Touch(&d.Base)
	runtime.Audit(&q.Tx, a, "audit.app.droplet.upload", tree.O("droplet_guid", d.GUID))
	j := q.StartJob(cc.JobSpec{Operation: "droplet.upload", Args: map[string]string{"guid": d.GUID}, Takes: q.S.Upload})
	return &cc.Reply{Status: 202, Location: "/v3/jobs/" + j.GUID, Body: presentDroplet(q, d, false)}, nil
}

func dropletReady(tx *cc.Tx, guid string) {
	d, ok := tx.W.Droplets.Get(guid)
	if !ok {
		return
	}
	sum := sha256.Sum256(d.Bits)
	d.Checksum, d.State = hex.EncodeToString(sum[:]), world.Staged
	tx.Touch(&d.Base)
}

func downloadDroplet(q *cc.Req) (*cc.Reply, error) {
	d, a, err := findDroplet(q)
	if err != nil {
		return nil, err
	}
	if d.Lifecycle == world.Docker {
		return nil, cc.Unprocessable("Cannot download droplets with 'docker' lifecycle.")
	}
	if d.State != world.Staged {
		return nil, cc.Unprocessable("Only staged droplets can be downloaded.")
	}
	runtime.Audit(&q.Tx, a, "audit.app.droplet.download", tree.O("droplet_guid", d.GUID))
	return &cc.Reply{Status: 200, Body: d.Bits, Type: "application/gzip"}, nil
}
