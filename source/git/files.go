package git

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/filemode"
	"github.com/go-git/go-git/v5/plumbing/object"
	"github.com/go-git/go-git/v5/plumbing/storer"
	"github.com/go-git/go-git/v5/storage/memory"

	"github.com/fettle-gitops/fettle/source"
	"github.com/fettle-gitops/fettle/source/internal/tree"
)

// maxLink is the longest symlink read; PATH_MAX of Linux.
const maxLink = 4096

// files is the tree of one commit. It remembers which object it was fetched as, so that an annotated
// tag is recognised on servers that do not tell the commit behind it.
type files struct {
	*tree.FS
	fetched plumbing.Hash
}

// cameFrom reports whether snap was made from the object h.
func cameFrom(snap *source.Snapshot, h plumbing.Hash) bool {
	f, ok := snap.Files.(*files)
	return ok && f.fetched == h
}

// extract copies the one tree of h (a commit or a tag) out of a store that holds more, or that others
// may change, and makes the snapshot from the copy.
func (r *Repository) extract(ctx context.Context, from storer.EncodedObjectStorer, h plumbing.Hash) (*source.Snapshot, error) {
	c := copier{ctx: ctx, from: from, to: memory.NewStorage(), repo: r}
	if err := c.copyTip(h); err != nil {
		return nil, err
	}
	return r.snapshotOf(ctx, c.to, h)
}

// snapshotOf makes the snapshot of h (a commit or a tag) from a store that nobody changes any more.
func (r *Repository) snapshotOf(ctx context.Context, store *memory.Storage, h plumbing.Hash) (*source.Snapshot, error) {
	commit, err := peel(store, h)
	if err != nil {
		return nil, err
	}
	w := walker{ctx: ctx, store: store, repo: r}
	if err := w.folder("", commit.TreeHash); err != nil {
		return nil, err
	}
	index, err := tree.New(w.entries, commit.Committer.When, func(e tree.Entry) (io.ReadCloser, error) {
		blob, err := store.EncodedObject(plumbing.BlobObject, plumbing.NewHash(e.Hash))
		if err != nil {
			return nil, err
		}
		return blob.Reader()
	})
	if err != nil {
		return nil, fmt.Errorf("commit %s: %w", commit.Hash, err)
	}
	subject, _, _ := strings.Cut(strings.TrimSpace(commit.Message), "\n")
	return &source.Snapshot{
		Revision: commit.Hash.String(),
		Subject:  strings.TrimSpace(subject),
		Author:   fmt.Sprintf("%s <%s>", commit.Author.Name, commit.Author.Email),
		Time:     commit.Committer.When,
		Files:    &files{FS: index, fetched: h},
	}, nil
}

// peel follows tags to the commit behind them. A tag may name a tag; Git sets no limit, five is plenty.
func peel(store storer.EncodedObjectStorer, h plumbing.Hash) (*object.Commit, error) {
	for range 5 {
		o, err := object.GetObject(store, h)
		if err != nil {
			return nil, missing(fmt.Sprintf("object %s", h), err)
		}
		switch o := o.(type) {
		case *object.Commit:
			return o, nil
		case *object.Tag:
			h = o.Target
		default:
			return nil, fmt.Errorf("%s is a %s, not a commit", h, o.Type())
		}
	}
	return nil, fmt.Errorf("%s: a tag of a tag of a tag, five deep", h)
}

// missing says that an object which must be there is not: the answer of the server was not complete,
// or the repository is damaged.
func missing(what string, err error) error {
	if errors.Is(err, plumbing.ErrObjectNotFound) || errors.Is(err, object.ErrDirectoryNotFound) {
		return fmt.Errorf("%s is missing", what)
	}
	return fmt.Errorf("%s: %w", what, err)
}

// walker lists a tree and fails on anything that is not there: go-git's own TreeWalker takes a missing
// object for the end of the tree (observed with v5.19.3), which would look as if Git declared nothing.
type walker struct {
	ctx     context.Context
	store   storer.EncodedObjectStorer
	repo    *Repository
	entries []tree.Entry
	count   int
	bytes   int64
}

func (w *walker) folder(dir string, h plumbing.Hash) error {
	if err := w.ctx.Err(); err != nil {
		return err
	}
	t, err := object.GetTree(w.store, h)
	if err != nil {
		return missing(fmt.Sprintf("folder %q (tree %s)", dir, h), err)
	}
	for _, e := range t.Entries {
		if w.count++; w.count > w.repo.opts.MaxFiles {
			return w.repo.tooLarge("the tree has more than %d files and folders", int64(w.repo.opts.MaxFiles))
		}
		// path.Join would clean "..": tree.New is to see and refuse it.
		name := e.Name
		if dir != "" {
			name = dir + "/" + e.Name
		}
		if strings.Contains(e.Name, "/") {
			return fmt.Errorf("folder %q: %q is not a file name", dir, e.Name)
		}
		entry := tree.Entry{Path: name, Hash: e.Hash.String()}
		switch e.Mode {
		case filemode.Dir:
			if err := w.folder(name, e.Hash); err != nil {
				return err
			}
			continue
		case filemode.Submodule:
			entry.Mode = tree.Submodule
			w.entries = append(w.entries, entry)
			continue
		case filemode.Symlink:
			entry.Mode = tree.Symlink
		case filemode.Executable:
			entry.Mode = tree.Executable
		case filemode.Regular, filemode.Deprecated:
			entry.Mode = tree.Regular
		default:
			return fmt.Errorf("%q has mode %s, which is not of Git", name, e.Mode)
		}
		blob, err := w.store.EncodedObject(plumbing.BlobObject, e.Hash)
		if err != nil {
			return missing(fmt.Sprintf("file %q (blob %s)", name, e.Hash), err)
		}
		entry.Size = blob.Size()
		if w.bytes += entry.Size; w.bytes > w.repo.opts.MaxBytes {
			return w.repo.tooLarge("the files are larger than %d bytes", w.repo.opts.MaxBytes)
		}
		if entry.Mode == tree.Symlink {
			if entry.Target, err = readLink(blob); err != nil {
				return fmt.Errorf("symlink %q: %w", name, err)
			}
		}
		w.entries = append(w.entries, entry)
	}
	return nil
}

func readLink(blob plumbing.EncodedObject) (string, error) {
	if blob.Size() > maxLink {
		return "", fmt.Errorf("its target is %d bytes long", blob.Size())
	}
	r, err := blob.Reader()
	if err != nil {
		return "", err
	}
	defer r.Close()
	target, err := io.ReadAll(r)
	return string(target), err
}

// copier copies what one commit needs, without its parents, and checks every hash on the way.
type copier struct {
	ctx   context.Context
	from  storer.EncodedObjectStorer
	to    *memory.Storage
	repo  *Repository
	bytes int64
	count int
}

// copyTip copies the tags and the commit at h, then the commit's tree.
func (c *copier) copyTip(h plumbing.Hash) error {
	commit, err := peel(c.from, h)
	if err != nil {
		return err
	}
	for h != commit.Hash {
		if err := c.object("tag", plumbing.TagObject, h); err != nil {
			return err
		}
		tag, err := object.GetTag(c.to, h)
		if err != nil {
			return err
		}
		h = tag.Target
	}
	if err := c.object("commit", plumbing.CommitObject, h); err != nil {
		return err
	}
	return c.folder("", commit.TreeHash)
}

func (c *copier) folder(dir string, h plumbing.Hash) error {
	if err := c.object(fmt.Sprintf("folder %q", dir), plumbing.TreeObject, h); err != nil {
		return err
	}
	t, err := object.GetTree(c.to, h)
	if err != nil {
		return missing(fmt.Sprintf("folder %q (tree %s)", dir, h), err)
	}
	for _, e := range t.Entries {
		if c.count++; c.count > c.repo.opts.MaxFiles {
			return c.repo.tooLarge("the tree has more than %d files and folders", int64(c.repo.opts.MaxFiles))
		}
		name := path.Join(dir, e.Name)
		switch e.Mode {
		case filemode.Dir:
			err = c.folder(name, e.Hash)
		case filemode.Submodule:
			err = nil
		default:
			err = c.object(fmt.Sprintf("file %q", name), plumbing.BlobObject, e.Hash)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (c *copier) object(what string, t plumbing.ObjectType, h plumbing.Hash) error {
	if err := c.ctx.Err(); err != nil {
		return err
	}
	if c.to.HasEncodedObject(h) == nil {
		return nil
	}
	what = fmt.Sprintf("%s (%s %s)", what, t, h)
	o, err := c.from.EncodedObject(t, h)
	if err != nil {
		return missing(what, err)
	}
	if c.bytes += o.Size(); c.bytes > c.repo.opts.MaxBytes {
		return c.repo.tooLarge("the files are larger than %d bytes", c.repo.opts.MaxBytes)
	}
	r, err := o.Reader()
	if err != nil {
		return missing(what, err)
	}
	defer r.Close()
	content := make([]byte, o.Size())
	if _, err := io.ReadFull(r, content); err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	copied := c.to.NewEncodedObject()
	copied.SetType(t)
	if _, err := copied.(io.Writer).Write(content); err != nil {
		return err
	}
	if copied.Hash() != h {
		return fmt.Errorf("%s is damaged: its content has the hash %s", what, copied.Hash())
	}
	_, err = c.to.SetEncodedObject(copied)
	return err
}
