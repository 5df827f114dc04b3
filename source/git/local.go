package git

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"

	gogit "github.com/go-git/go-git/v5"
	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/storer"

	"github.com/fettle-gitops/fettle/source"
)

// openLocal opens a repository on this machine, bare or with a work tree, and finds the wanted commit.
// go-git's own transport for file:// starts a git binary, which need not exist here.
func (r *Repository) openLocal() (storer.EncodedObjectStorer, plumbing.Hash, error) {
	if _, err := os.Stat(r.local); err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return nil, plumbing.ZeroHash, &source.Error{Source: r.name, State: source.NotFound, Err: errors.New("there is no such folder"), Hint: "check the path"}
		}
		return nil, plumbing.ZeroHash, err
	}
	repo, err := gogit.PlainOpenWithOptions(r.local, &gogit.PlainOpenOptions{EnableDotGitCommonDir: true})
	if err != nil {
		if errors.Is(err, gogit.ErrRepositoryNotExists) {
			return nil, plumbing.ZeroHash, &source.Error{
				Source: r.name, State: source.NotFound,
				Err:  errors.New("the folder is not a Git repository"),
				Hint: "give the path of a bare repository or of a work tree's top folder",
			}
		}
		return nil, plumbing.ZeroHash, err
	}
	if r.opts.Commit != "" {
		h := plumbing.NewHash(r.opts.Commit)
		if repo.Storer.HasEncodedObject(h) != nil {
			return nil, h, r.gone(fmt.Sprintf("commit %s does not exist", h), nil, "it was never pushed here, or was pruned after a force-push")
		}
		return repo.Storer, h, nil
	}

	have, all, err := localReferences(repo.Storer)
	if err != nil {
		return nil, plumbing.ZeroHash, err
	}
	name := r.reference()
	ref, err := storer.ResolveReference(repo.Storer, name)
	switch {
	case errors.Is(err, plumbing.ErrReferenceNotFound) && all == 0:
		return nil, plumbing.ZeroHash, r.empty()
	case errors.Is(err, plumbing.ErrReferenceNotFound) && name == plumbing.HEAD:
		return nil, plumbing.ZeroHash, r.gone("the repository's default branch does not exist", have, "name a branch, or push the default branch")
	case errors.Is(err, plumbing.ErrReferenceNotFound):
		return nil, plumbing.ZeroHash, r.gone(describe(name)+" does not exist", have, "it was deleted or renamed, or the name is misspelt")
	case err != nil:
		return nil, plumbing.ZeroHash, err
	}
	commit, err := peel(repo.Storer, ref.Hash())
	if err != nil {
		return nil, plumbing.ZeroHash, err
	}
	return repo.Storer, commit.Hash, nil
}

// localReferences lists the branches, and counts all that names a commit.
func localReferences(s storer.ReferenceStorer) (branches []string, all int, err error) {
	refs, err := s.IterReferences()
	if err != nil {
		return nil, 0, err
	}
	err = refs.ForEach(func(ref *plumbing.Reference) error {
		if ref.Type() == plumbing.HashReference {
			all++
		}
		if ref.Name().IsBranch() {
			branches = append(branches, ref.Name().Short())
		}
		return nil
	})
	slices.Sort(branches)
	return branches, all, err
}
