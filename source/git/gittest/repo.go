// Package gittest is a small Git server, for tests and for the demo: repositories that are written without a
// git binary, served over smart HTTP and SSH on loopback, to read from and to push to.
//
// The protocol is the real one (version 0, with shallow fetches and side bands): the system's git clones
// from it and pushes to it in the tests. It is not for production: it reads whole histories into
// memory, runs no hooks, takes no locks against other processes, and does not limit what a client may ask.
package gittest

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	gogit "github.com/go-git/go-git/v5"
	"github.com/go-git/go-git/v5/config"
	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/filemode"
	"github.com/go-git/go-git/v5/plumbing/format/packfile"
	"github.com/go-git/go-git/v5/plumbing/object"
	"github.com/go-git/go-git/v5/plumbing/storer"
	"github.com/go-git/go-git/v5/plumbing/transport"
	"github.com/go-git/go-git/v5/storage"
	"github.com/go-git/go-git/v5/storage/memory"
)

// DefaultBranch is the branch that HEAD of a new repository names.
const DefaultBranch = "main"

// Repo is a bare repository in a folder. Its methods may be called from many goroutines.
type Repo struct {
	dir string
	mu  sync.Mutex // one change at a time
}

// Init makes an empty bare repository in dir, which may exist if it is empty.
func Init(dir string) (*Repo, error) {
	_, err := gogit.PlainInitWithOptions(dir, &gogit.PlainInitOptions{
		Bare:        true,
		InitOptions: gogit.InitOptions{DefaultBranch: plumbing.NewBranchReferenceName(DefaultBranch)},
	})
	if err != nil {
		return nil, fmt.Errorf("making a repository in %s: %w", dir, err)
	}
	return &Repo{dir: dir}, nil
}

// Open opens the bare repository in dir.
func Open(dir string) (*Repo, error) {
	r := &Repo{dir: dir}
	_, err := r.storage()
	return r, err
}

// storage opens the repository's files. It is done anew for each operation, because go-git's storage
// is neither safe for many goroutines nor sees the packs that another one receives.
func (r *Repo) storage() (storage.Storer, error) {
	repo, err := gogit.PlainOpen(r.dir)
	if err != nil {
		return nil, fmt.Errorf("opening the repository in %s: %w", r.dir, err)
	}
	return repo.Storer, nil
}

// Dir is the repository's folder.
func (r *Repo) Dir() string { return r.dir }

// Commit puts files on top of the default branch and returns the new commit's hash. It changes or adds what
// files names and leaves everything else; author reads "Name <mail>".
func (r *Repo) Commit(files map[string]string, message, author string) (string, error) {
	return r.CommitWith(Change{Files: files, Message: message, Author: author})
}

// Change is one commit to make.
type Change struct {
	Branch  string    // default: DefaultBranch
	Message string    // default: "Change"
	Author  string    // "Name <mail>"; default: "Test <test@example.com>"
	Time    time.Time // default: now

	Files      map[string]string // path → content
	Executable map[string]string // the same, with the executable bit
	Symlinks   map[string]string // path → target
	Submodules map[string]string // path → commit hash
	Delete     []string          // files and folders

	// From is the branch to start from if Branch does not exist. Default: an empty tree.
	From string
	// Replace drops the branch's history and files first: what a force-push of something else does.
	Replace bool
}

// CommitWith makes the commit and moves the branch to it.
func (r *Repo) CommitWith(c Change) (string, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	st, err := r.storage()
	if err != nil {
		return "", err
	}
	e := &editor{repo: st, fresh: memory.NewStorage()}
	h, err := e.commit(c)
	if err != nil {
		return "", fmt.Errorf("committing to %s: %w", r.dir, err)
	}
	return h.String(), nil
}

// editor makes a commit: it reads from the repository and collects what is new.
type editor struct {
	repo  storage.Storer
	fresh *memory.Storage
}

// flush writes what is new: a few objects one by one, many as a pack, which is faster to write and to serve.
func (e *editor) flush() error {
	const many = 100
	if len(e.fresh.Objects) < many {
		for _, o := range e.fresh.Objects {
			if _, err := e.repo.SetEncodedObject(o); err != nil {
				return err
			}
		}
		return nil
	}
	w, err := e.repo.(storer.PackfileWriter).PackfileWriter() // go-git's file storage is one
	if err != nil {
		return err
	}
	_, err = packfile.NewEncoder(w, e.fresh, false).Encode(slices.Collect(maps.Keys(e.fresh.Objects)), 0)
	return errors.Join(err, w.Close())
}

// leaf is a file in a flat listing of a tree.
type leaf struct {
	mode filemode.FileMode
	hash plumbing.Hash
}

func (e *editor) commit(c Change) (plumbing.Hash, error) {
	if c.Branch == "" {
		c.Branch = DefaultBranch
	}
	if c.Message == "" {
		c.Message = "Change"
	}
	if c.Author == "" {
		c.Author = "Test <test@example.com>"
	}
	if c.Time.IsZero() {
		c.Time = time.Now()
	}
	branch := plumbing.NewBranchReferenceName(c.Branch)
	commit := &object.Commit{Message: c.Message, TreeHash: plumbing.ZeroHash}
	name, mail, _ := strings.Cut(strings.TrimSuffix(c.Author, ">"), "<")
	commit.Author = object.Signature{Name: strings.TrimSpace(name), Email: mail, When: c.Time}
	commit.Committer = commit.Author

	leaves := map[string]leaf{}
	base, err := e.repo.Reference(branch)
	if errors.Is(err, plumbing.ErrReferenceNotFound) && c.From != "" {
		base, err = e.repo.Reference(plumbing.NewBranchReferenceName(c.From))
	}
	switch {
	case errors.Is(err, plumbing.ErrReferenceNotFound) && c.From == "":
	case err != nil:
		return plumbing.ZeroHash, err
	case !c.Replace:
		parent, err := object.GetCommit(e.repo, base.Hash())
		if err != nil {
			return plumbing.ZeroHash, err
		}
		commit.ParentHashes = []plumbing.Hash{parent.Hash}
		if err := e.flatten("", parent.TreeHash, leaves); err != nil {
			return plumbing.ZeroHash, err
		}
	}

	for _, gone := range c.Delete {
		maps.DeleteFunc(leaves, func(p string, _ leaf) bool { return p == gone || strings.HasPrefix(p, gone+"/") })
	}
	for mode, files := range map[filemode.FileMode]map[string]string{
		filemode.Regular: c.Files, filemode.Executable: c.Executable, filemode.Symlink: c.Symlinks,
	} {
		for p, content := range files {
			h, err := e.store(plumbing.BlobObject, []byte(content))
			if err != nil {
				return plumbing.ZeroHash, err
			}
			leaves[p] = leaf{mode, h}
		}
	}
	for p, commit := range c.Submodules {
		leaves[p] = leaf{filemode.Submodule, plumbing.NewHash(commit)}
	}
	if commit.TreeHash, err = e.storeTree(leaves); err != nil {
		return plumbing.ZeroHash, err
	}
	o := e.fresh.NewEncodedObject()
	if err := commit.Encode(o); err != nil {
		return plumbing.ZeroHash, err
	}
	h, err := e.keep(o)
	if err != nil {
		return plumbing.ZeroHash, err
	}
	if err := e.flush(); err != nil {
		return plumbing.ZeroHash, err
	}
	return h, e.repo.SetReference(plumbing.NewHashReference(branch, h))
}

func (e *editor) flatten(dir string, h plumbing.Hash, into map[string]leaf) error {
	t, err := object.GetTree(e.repo, h)
	if err != nil {
		return fmt.Errorf("tree %s of %q: %w", h, dir, err)
	}
	for _, in := range t.Entries {
		p := path.Join(dir, in.Name)
		if in.Mode == filemode.Dir {
			if err := e.flatten(p, in.Hash, into); err != nil {
				return err
			}
			continue
		}
		into[p] = leaf{in.Mode, in.Hash}
	}
	return nil
}

// storeTree writes the tree objects of a flat listing, the deepest first, and returns the root's hash.
func (e *editor) storeTree(leaves map[string]leaf) (plumbing.Hash, error) {
	t := &object.Tree{}
	folders := map[string]map[string]leaf{}
	for p, l := range leaves {
		dir, rest, below := strings.Cut(p, "/")
		if !below {
			t.Entries = append(t.Entries, object.TreeEntry{Name: p, Mode: l.mode, Hash: l.hash})
			continue
		}
		if folders[dir] == nil {
			folders[dir] = map[string]leaf{}
		}
		folders[dir][rest] = l
	}
	for _, dir := range slices.Sorted(maps.Keys(folders)) {
		h, err := e.storeTree(folders[dir])
		if err != nil {
			return h, err
		}
		t.Entries = append(t.Entries, object.TreeEntry{Name: dir, Mode: filemode.Dir, Hash: h})
	}
	slices.SortFunc(t.Entries, func(a, b object.TreeEntry) int { return strings.Compare(sortKey(a), sortKey(b)) })
	o := e.fresh.NewEncodedObject()
	if err := t.Encode(o); err != nil {
		return plumbing.ZeroHash, err
	}
	return e.keep(o)
}

// sortKey orders tree entries as Git does: a folder as if its name ended in a slash (read-cache.c, base_name_compare).
func sortKey(e object.TreeEntry) string {
	if e.Mode == filemode.Dir {
		return e.Name + "/"
	}
	return e.Name
}

func (e *editor) store(t plumbing.ObjectType, content []byte) (plumbing.Hash, error) {
	o := e.fresh.NewEncodedObject()
	o.SetType(t)
	w, err := o.Writer()
	if err != nil {
		return plumbing.ZeroHash, err
	}
	if _, err := w.Write(content); err != nil {
		return plumbing.ZeroHash, err
	}
	if err := w.Close(); err != nil {
		return plumbing.ZeroHash, err
	}
	return e.keep(o)
}

// keep notes o for flush, unless the repository has it.
func (e *editor) keep(o plumbing.EncodedObject) (plumbing.Hash, error) {
	if h := o.Hash(); e.repo.HasEncodedObject(h) == nil {
		return h, nil
	}
	return e.fresh.SetEncodedObject(o)
}

// Head is the hash of the commit at the tip of a branch.
func (r *Repo) Head(branch string) (string, error) {
	st, err := r.storage()
	if err != nil {
		return "", err
	}
	ref, err := st.Reference(plumbing.NewBranchReferenceName(branch))
	if err != nil {
		return "", fmt.Errorf("branch %q in %s: %w", branch, r.dir, err)
	}
	return ref.Hash().String(), nil
}

// SetBranch points a branch, which need not exist, at a commit: a force-push of it.
func (r *Repo) SetBranch(branch, commit string) error {
	return r.change(func(st storage.Storer) error {
		return st.SetReference(plumbing.NewHashReference(plumbing.NewBranchReferenceName(branch), plumbing.NewHash(commit)))
	})
}

// DeleteBranch removes a branch, also the one that HEAD names.
func (r *Repo) DeleteBranch(branch string) error {
	return r.change(func(st storage.Storer) error {
		return st.RemoveReference(plumbing.NewBranchReferenceName(branch))
	})
}

// SetDefaultBranch makes HEAD name another branch.
func (r *Repo) SetDefaultBranch(branch string) error {
	return r.change(func(st storage.Storer) error {
		return st.SetReference(plumbing.NewSymbolicReference(plumbing.HEAD, plumbing.NewBranchReferenceName(branch)))
	})
}

// Tag names a commit; with a message the tag is annotated.
func (r *Repo) Tag(name, commit, message string) error {
	return r.change(func(st storage.Storer) error {
		h := plumbing.NewHash(commit)
		if message != "" {
			tag := &object.Tag{
				Name: name, Message: message, TargetType: plumbing.CommitObject, Target: h,
				Tagger: object.Signature{Name: "Test", Email: "test@example.com", When: time.Now()},
			}
			o := st.NewEncodedObject()
			if err := tag.Encode(o); err != nil {
				return err
			}
			var err error
			if h, err = st.SetEncodedObject(o); err != nil {
				return err
			}
		}
		return st.SetReference(plumbing.NewHashReference(plumbing.NewTagReferenceName(name), h))
	})
}

func (r *Repo) change(do func(storage.Storer) error) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	st, err := r.storage()
	if err != nil {
		return err
	}
	return do(st)
}

// RemoveObject deletes an object that a commit wrote, to damage the repository.
func (r *Repo) RemoveObject(hash string) error {
	return os.Remove(filepath.Join(r.dir, "objects", hash[:2], hash[2:]))
}

// Push sends a branch of this repository to another one over HTTP or SSH, as "git push" does. auth
// may be nil, or one of go-git's.
func (r *Repo) Push(ctx context.Context, url, branch string, force bool, auth transport.AuthMethod) error {
	st, err := r.storage()
	if err != nil {
		return err
	}
	spec := fmt.Sprintf("refs/heads/%s:refs/heads/%[1]s", branch)
	if force {
		spec = "+" + spec
	}
	remote := gogit.NewRemote(st, &config.RemoteConfig{Name: "origin", URLs: []string{url}})
	err = remote.PushContext(ctx, &gogit.PushOptions{RemoteName: "origin", RefSpecs: []config.RefSpec{config.RefSpec(spec)}, Auth: auth})
	if errors.Is(err, gogit.NoErrAlreadyUpToDate) {
		return nil
	}
	return err
}

// Tree is the hash of a commit's tree.
func (r *Repo) Tree(commit string) (string, error) {
	st, err := r.storage()
	if err != nil {
		return "", err
	}
	c, err := object.GetCommit(st, plumbing.NewHash(commit))
	if err != nil {
		return "", fmt.Errorf("commit %s in %s: %w", commit, r.dir, err)
	}
	return c.TreeHash.String(), nil
}
