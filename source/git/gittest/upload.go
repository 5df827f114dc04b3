package gittest

import (
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/filemode"
	"github.com/go-git/go-git/v5/plumbing/format/packfile"
	"github.com/go-git/go-git/v5/plumbing/format/pktline"
	"github.com/go-git/go-git/v5/plumbing/object"
	"github.com/go-git/go-git/v5/plumbing/protocol/packp"
	"github.com/go-git/go-git/v5/plumbing/protocol/packp/capability"
	"github.com/go-git/go-git/v5/plumbing/protocol/packp/sideband"
	"github.com/go-git/go-git/v5/plumbing/storer"
	"github.com/go-git/go-git/v5/storage"
)

// advertise lists the references of a repository with the capabilities of a service.
func (s *Server) advertise(st storage.Storer, service string) (*packp.AdvRefs, error) {
	ar := packp.NewAdvRefs()
	refs, err := st.IterReferences()
	if err != nil {
		return nil, err
	}
	err = refs.ForEach(func(ref *plumbing.Reference) error {
		if ref.Type() != plumbing.HashReference {
			return nil
		}
		ar.References[ref.Name().String()] = ref.Hash()
		if tag, err := object.GetTag(st, ref.Hash()); err == nil {
			ar.Peeled[ref.Name().String()] = tag.Target
		}
		return nil
	})
	if err != nil {
		return nil, err
	}

	caps := []string{"agent=gittest", "ofs-delta", "side-band-64k"}
	if service == receivePack {
		caps = append(caps, "report-status", "delete-refs", "no-thin")
	} else {
		caps = append(caps, "no-progress")
		if !s.NoShallow {
			caps = append(caps, "shallow")
		}
		if !s.NoCommitWants {
			caps = append(caps, "allow-tip-sha1-in-want", "allow-reachable-sha1-in-want")
		}
		if head, err := st.Reference(plumbing.HEAD); err == nil && head.Type() == plumbing.SymbolicReference {
			if tip, err := storer.ResolveReference(st, head.Target()); err == nil {
				h := tip.Hash()
				ar.Head = &h
				caps = append(caps, "symref=HEAD:"+head.Target().String())
			}
		}
	}
	for _, c := range caps {
		name, value, hasValue := strings.Cut(c, "=")
		if hasValue {
			err = ar.Capabilities.Add(capability.Capability(name), value)
		} else {
			err = ar.Capabilities.Add(capability.Capability(name))
		}
		if err != nil {
			return nil, err
		}
	}
	return ar, nil
}

// fetchRequest is what a client of git-upload-pack asks for (gitprotocol-pack, "upload-request").
type fetchRequest struct {
	wants    []plumbing.Hash
	shallows map[plumbing.Hash]bool // commits whose parents the client does not have
	depth    int
	sideband bool
}

// upload answers one request of git-upload-pack. Over HTTP (stateless) a request that ends before "done" gets
// the acknowledgements so far and the client comes again.
func (s *Server) upload(st storage.Storer, in io.Reader, out io.Writer, stateless bool) error {
	lines := pktline.NewScanner(in)
	req, err := readFetchRequest(lines)
	if err != nil || len(req.wants) == 0 {
		return err
	}
	pkt := pktline.NewEncoder(out)
	if err := s.checkWants(st, req.wants); err != nil {
		return pkt.Encodef("ERR upload-pack: %s\n", err)
	}
	p := plan{st: st, req: req, boundary: map[plumbing.Hash]bool{}}
	if err := p.walk(); err != nil {
		return err
	}
	if req.depth > 0 {
		for h := range p.boundary {
			if !req.shallows[h] {
				if err := pkt.Encodef("shallow %s\n", h); err != nil {
					return err
				}
			}
		}
		for h := range req.shallows {
			if p.seen[h] && !p.boundary[h] {
				if err := pkt.Encodef("unshallow %s\n", h); err != nil {
					return err
				}
			}
		}
		if err := pkt.Flush(); err != nil {
			return err
		}
	}
	common, done, err := negotiate(st, lines, pkt, stateless)
	if err != nil || !done {
		return err
	}
	objects, err := p.objects(common)
	if err != nil {
		return err
	}
	objects = slices.DeleteFunc(objects, func(h plumbing.Hash) bool { return slices.Contains(s.Withhold, h.String()) })
	w := out
	if req.sideband {
		w = sideband.NewMuxer(sideband.Sideband64k, out)
	}
	window := uint(10) // what git uses: clients are to meet deltas
	if len(objects) > 1000 {
		window = 0 // finding them takes go-git seconds
	}
	if _, err := packfile.NewEncoder(w, st, false).Encode(objects, window); err != nil {
		return err
	}
	if req.sideband {
		return pkt.Flush()
	}
	return nil
}

func readFetchRequest(lines *pktline.Scanner) (*fetchRequest, error) {
	req := &fetchRequest{shallows: map[plumbing.Hash]bool{}}
	for lines.Scan() {
		line := strings.TrimSuffix(string(lines.Bytes()), "\n")
		if line == "" {
			return req, nil
		}
		verb, rest, _ := strings.Cut(line, " ")
		switch verb {
		case "want":
			hash, caps, _ := strings.Cut(rest, " ")
			req.wants = append(req.wants, plumbing.NewHash(hash))
			req.sideband = req.sideband || slices.Contains(strings.Fields(caps), "side-band-64k")
		case "shallow":
			req.shallows[plumbing.NewHash(rest)] = true
		case "deepen":
			n, err := strconv.Atoi(rest)
			if err != nil {
				return nil, fmt.Errorf("deepen %q: %w", rest, err)
			}
			req.depth = n
		default:
			return nil, fmt.Errorf("unexpected line %q", line)
		}
	}
	return req, lines.Err()
}

// checkWants refuses what no reference names, unless the server says that it allows commits by hash.
func (s *Server) checkWants(st storage.Storer, wants []plumbing.Hash) error {
	tips := map[plumbing.Hash]bool{}
	refs, err := st.IterReferences()
	if err != nil {
		return err
	}
	err = refs.ForEach(func(ref *plumbing.Reference) error {
		tips[ref.Hash()] = true
		return nil
	})
	if err != nil {
		return err
	}
	for _, h := range wants {
		if !tips[h] && (s.NoCommitWants || st.HasEncodedObject(h) != nil) {
			return fmt.Errorf("not our ref %s", h)
		}
	}
	return nil
}

// negotiate finds out what the client has, without any of the multi_ack extensions.
func negotiate(st storage.Storer, lines *pktline.Scanner, pkt *pktline.Encoder, stateless bool) (common []plumbing.Hash, done bool, err error) {
	for lines.Scan() {
		line := strings.TrimSuffix(string(lines.Bytes()), "\n")
		switch verb, rest, _ := strings.Cut(line, " "); verb {
		case "":
			if len(common) == 0 {
				if err := pkt.EncodeString("NAK\n"); err != nil {
					return nil, false, err
				}
			}
			if stateless {
				return common, false, nil
			}
		case "have":
			h := plumbing.NewHash(rest)
			if st.HasEncodedObject(h) != nil {
				continue
			}
			if common = append(common, h); len(common) == 1 {
				if err := pkt.Encodef("ACK %s\n", h); err != nil {
					return nil, false, err
				}
			}
		case "done":
			if len(common) == 0 {
				err = pkt.EncodeString("NAK\n")
			}
			return common, true, err
		default:
			return nil, false, fmt.Errorf("unexpected line %q", line)
		}
	}
	return common, false, lines.Err()
}

// plan collects the objects to send.
type plan struct {
	st       storage.Storer
	req      *fetchRequest
	tags     []plumbing.Hash
	commits  []*object.Commit
	seen     map[plumbing.Hash]bool // commits
	boundary map[plumbing.Hash]bool // commits at the depth's end that have parents
}

// walk goes from the wants to their ancestors, as deep as asked.
func (p *plan) walk() error {
	p.seen = map[plumbing.Hash]bool{}
	var level []plumbing.Hash
	for _, h := range p.req.wants {
		for {
			tag, err := object.GetTag(p.st, h)
			if err != nil {
				break
			}
			p.tags = append(p.tags, h)
			h = tag.Target
		}
		level = append(level, h)
	}
	for depth := 1; len(level) > 0; depth++ {
		var next []plumbing.Hash
		for _, h := range level {
			if p.seen[h] {
				continue
			}
			p.seen[h] = true
			c, err := object.GetCommit(p.st, h)
			if err != nil {
				return fmt.Errorf("commit %s: %w", h, err)
			}
			p.commits = append(p.commits, c)
			if depth == p.req.depth {
				p.boundary[h] = len(c.ParentHashes) > 0
				if !p.boundary[h] {
					delete(p.boundary, h)
				}
				continue
			}
			next = append(next, c.ParentHashes...)
		}
		level = next
	}
	return nil
}

// objects lists what the walked commits need and the client does not have.
func (p *plan) objects(common []plumbing.Hash) ([]plumbing.Hash, error) {
	have := map[plumbing.Hash]bool{}
	for level := common; len(level) > 0; {
		h := level[0]
		level = level[1:]
		if have[h] {
			continue
		}
		c, err := object.GetCommit(p.st, h)
		if err != nil { // a tag: its commit is announced by a "have" of its own
			have[h] = true
			continue
		}
		have[h] = true
		if err := collect(p.st, c.TreeHash, have, nil); err != nil {
			return nil, err
		}
		if !p.req.shallows[h] {
			level = append(level, c.ParentHashes...)
		}
	}
	var all []plumbing.Hash
	for _, h := range p.tags {
		if !have[h] {
			have[h] = true
			all = append(all, h)
		}
	}
	for _, c := range p.commits {
		if have[c.Hash] {
			continue
		}
		have[c.Hash] = true
		all = append(all, c.Hash)
		if err := collect(p.st, c.TreeHash, have, &all); err != nil {
			return nil, err
		}
	}
	return all, nil
}

// collect appends a tree and all below it to into (if not nil), leaving out and noting what is in seen.
func collect(st storage.Storer, h plumbing.Hash, seen map[plumbing.Hash]bool, into *[]plumbing.Hash) error {
	add := func(h plumbing.Hash) bool {
		if seen[h] {
			return false
		}
		seen[h] = true
		if into != nil {
			*into = append(*into, h)
		}
		return true
	}
	if !add(h) {
		return nil
	}
	t, err := object.GetTree(st, h)
	if err != nil {
		return fmt.Errorf("tree %s: %w", h, err)
	}
	for _, e := range t.Entries {
		switch e.Mode {
		case filemode.Submodule:
		case filemode.Dir:
			if err := collect(st, e.Hash, seen, into); err != nil {
				return err
			}
		default:
			add(e.Hash)
		}
	}
	return nil
}
