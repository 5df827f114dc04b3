package git

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/format/packfile"
	"github.com/go-git/go-git/v5/plumbing/protocol/packp"
	"github.com/go-git/go-git/v5/plumbing/protocol/packp/capability"
	"github.com/go-git/go-git/v5/plumbing/protocol/packp/sideband"
	"github.com/go-git/go-git/v5/plumbing/storer"
	"github.com/go-git/go-git/v5/plumbing/transport"
	"github.com/go-git/go-git/v5/storage/memory"

	"github.com/fettle-gitops/fettle/source"
)

// errMoved says that the server no longer gives what it offered a moment ago.
var errMoved = errors.New("the server does not give the commit that it listed")

// want is what to ask the server for.
type want struct {
	hash   plumbing.Hash // as the reference names it: a commit, or the tag object of an annotated tag
	peeled plumbing.Hash // the commit behind a tag, where the server tells
	// hidden: no reference names the commit, and the server does not promise to give such commits.
	hidden bool
}

func (w want) commit() plumbing.Hash {
	if w.peeled.IsZero() {
		return w.hash
	}
	return w.peeled
}

// choose finds the wanted reference among those that the server lists.
func (r *Repository) choose(ar *packp.AdvRefs) (want, error) {
	if r.opts.Commit != "" {
		h := plumbing.NewHash(r.opts.Commit)
		c := ar.Capabilities
		promised := c.Supports(capability.AllowReachableSHA1InWant) || c.Supports(capability.AllowTipSHA1InWant) || c.Supports("allow-any-sha1-in-want")
		for _, listed := range ar.References {
			promised = promised || listed == h
		}
		return want{hash: h, hidden: !promised}, nil
	}
	name := r.reference()
	if name == plumbing.HEAD {
		if ar.Head == nil || ar.Head.IsZero() {
			return want{}, r.gone("the repository's default branch does not exist", branches(ar), "name a branch, or push the default branch")
		}
		return want{hash: *ar.Head}, nil
	}
	h, ok := ar.References[name.String()]
	if !ok {
		return want{}, r.gone(describe(name)+" does not exist", branches(ar), "it was deleted or renamed, or the name is misspelt")
	}
	return want{hash: h, peeled: ar.Peeled[name.String()]}, nil
}

// reference is the full name of what the options ask for; HEAD if they leave it to the remote.
func (r *Repository) reference() plumbing.ReferenceName {
	switch {
	case r.opts.Branch != "":
		return plumbing.NewBranchReferenceName(strings.TrimPrefix(r.opts.Branch, "refs/heads/"))
	case r.opts.Tag != "":
		return plumbing.NewTagReferenceName(strings.TrimPrefix(r.opts.Tag, "refs/tags/"))
	case r.opts.Ref != "":
		return plumbing.ReferenceName(r.opts.Ref)
	}
	return plumbing.HEAD
}

func describe(name plumbing.ReferenceName) string {
	switch {
	case name.IsBranch():
		return fmt.Sprintf("branch %q", name.Short())
	case name.IsTag():
		return fmt.Sprintf("tag %q", name.Short())
	}
	return fmt.Sprintf("reference %q", name)
}

func branches(ar *packp.AdvRefs) []string {
	var all []string
	for name := range ar.References {
		if ref := plumbing.ReferenceName(name); ref.IsBranch() {
			all = append(all, ref.Short())
		}
	}
	slices.Sort(all)
	return all
}

// gone is the error for a reference that is not there; it names the branches that are.
func (r *Repository) gone(what string, have []string, hint string) error {
	const shown = 8
	switch n := len(have); {
	case n > shown:
		hint += fmt.Sprintf("; branches there: %s and %d more", strings.Join(have[:shown], ", "), n-shown)
	case n > 0:
		hint += "; branches there: " + strings.Join(have, ", ")
	}
	return &source.Error{Source: r.name, State: source.BranchGone, Err: errors.New(what), Hint: hint}
}

// fetch gets the wanted commit with as little else as the server allows.
func (r *Repository) fetch(ctx context.Context, s transport.UploadPackSession, ar *packp.AdvRefs, w want) (*source.Snapshot, error) {
	shallow := ar.Capabilities.Supports(capability.Shallow)
	if !w.hidden && shallow {
		store, err := r.download(ctx, s, ar, []plumbing.Hash{w.hash}, 1)
		if err == nil {
			return r.snapshotOf(ctx, store, w.hash)
		}
		if !errors.Is(err, errMoved) || r.opts.Commit == "" {
			return nil, err
		}
		// The server promises commits by hash and yet refuses this one: look for it in the branches.
		if s, err = r.connect(ctx); err != nil {
			return nil, err
		}
		defer s.Close()
		if ar, err = s.AdvertisedReferencesContext(ctx); err != nil {
			return nil, err
		}
		w.hidden = true
	}

	wants := []plumbing.Hash{w.hash}
	if w.hidden {
		wants = tips(ar)
	}
	store, err := r.download(ctx, s, ar, wants, 0)
	if err != nil {
		return nil, err
	}
	if w.hidden && store.HasEncodedObject(w.hash) != nil {
		return nil, r.gone(fmt.Sprintf("commit %s does not exist", w.hash), nil,
			"no branch or tag contains it: it was never pushed here, or was replaced by a force-push")
	}
	return r.extract(ctx, store, w.hash) // keeps the one tree and drops the history
}

// tips are the distinct hashes of all branches and tags.
func tips(ar *packp.AdvRefs) []plumbing.Hash {
	var all []plumbing.Hash
	for name, h := range ar.References {
		if ref := plumbing.ReferenceName(name); ref.IsBranch() || ref.IsTag() {
			all = append(all, h)
		}
	}
	slices.SortFunc(all, func(a, b plumbing.Hash) int { return strings.Compare(a.String(), b.String()) })
	return slices.Compact(all)
}

// download asks for wants, to the depth given (0: all history), and unpacks the answer into fresh memory.
func (r *Repository) download(ctx context.Context, s transport.UploadPackSession, ar *packp.AdvRefs, wants []plumbing.Hash, depth int) (_ *memory.Storage, err error) {
	req := packp.NewUploadPackRequestFromCapabilities(ar.Capabilities)
	req.Wants = wants
	if depth > 0 {
		req.Depth = packp.DepthCommits(depth)
		if err := req.Capabilities.Set(capability.Shallow); err != nil {
			return nil, err
		}
	}
	answer, err := s.UploadPack(ctx, req)
	if err != nil {
		if refused(err) {
			return nil, errMoved
		}
		return nil, fmt.Errorf("fetching: %w", err)
	}
	defer func() {
		if cerr := answer.Close(); err == nil && cerr != nil {
			err = fmt.Errorf("fetching: %w", cerr)
		}
	}()

	var pack io.Reader = answer
	switch {
	case req.Capabilities.Supports(capability.Sideband64k):
		pack = sideband.NewDemuxer(sideband.Sideband64k, answer)
	case req.Capabilities.Supports(capability.Sideband):
		pack = sideband.NewDemuxer(sideband.Sideband, answer)
	}
	store := memory.NewStorage()
	// A tree within the limit cannot come in a pack much larger; history, where it is needed, may.
	budget := &budget{Storage: store, left: r.opts.MaxBytes + int64(r.opts.MaxFiles)*256}
	if depth == 0 {
		budget.left *= 4
	}
	if err := packfile.UpdateObjectStorage(budget, pack); err != nil {
		if refused(err) {
			return nil, errMoved
		}
		if errors.Is(err, errBudget) {
			return nil, r.tooLarge("the fetched objects are larger than %d bytes", r.opts.MaxBytes)
		}
		return nil, fmt.Errorf("unpacking what was fetched: %w", err)
	}
	return store, nil
}

// refused recognises a server that does not give an object by its hash (Git's upload-pack.c says
// "not our ref", libgit2-based servers and JGit "not valid").
func refused(err error) bool {
	return strings.Contains(err.Error(), "not our ref") || strings.Contains(err.Error(), "not valid")
}

// budget is memory storage that ends a download when it unpacks to more than was agreed.
type budget struct {
	*memory.Storage
	left int64
}

var errBudget = errors.New("larger than agreed")

var _ storer.Storer = (*budget)(nil)

// SetEncodedObject counts o and keeps it.
func (b *budget) SetEncodedObject(o plumbing.EncodedObject) (plumbing.Hash, error) {
	if b.left -= o.Size(); b.left < 0 {
		return plumbing.ZeroHash, errBudget
	}
	return b.Storage.SetEncodedObject(o)
}
