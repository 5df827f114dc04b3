package gittest

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/format/packfile"
	"github.com/go-git/go-git/v5/plumbing/format/pktline"
	"github.com/go-git/go-git/v5/plumbing/protocol/packp"
	"github.com/go-git/go-git/v5/plumbing/protocol/packp/capability"
	"github.com/go-git/go-git/v5/plumbing/protocol/packp/sideband"
	"github.com/go-git/go-git/v5/storage"
)

// receive takes one push: objects first, then each reference that still is where the client saw it.
func (s *Server) receive(st storage.Storer, in io.Reader, out io.Writer) error {
	buffered := bufio.NewReader(in)
	in = buffered
	// A client with nothing to push says so with a flush. So does git before a large push over HTTP, to
	// learn whether it may (remote-curl.c, probe_rpc).
	if start, err := buffered.Peek(4); errors.Is(err, io.EOF) || string(start) == "0000" {
		return nil
	} else if err != nil {
		return err
	}
	req := packp.NewReferenceUpdateRequest()
	if err := req.Decode(in); err != nil {
		return err
	}
	report := packp.NewReportStatus()
	report.UnpackStatus = "ok"
	for _, c := range req.Commands {
		if c.Action() != packp.Delete {
			if err := unpack(st, in); err != nil {
				report.UnpackStatus = err.Error()
			}
			break
		}
	}
	s.pushes.Lock()
	for _, c := range req.Commands {
		status := &packp.CommandStatus{ReferenceName: c.Name, Status: "ok"}
		if report.UnpackStatus != "ok" {
			status.Status = "unpacker error"
		} else if err := update(st, c); err != nil {
			status.Status = err.Error()
		}
		report.CommandStatuses = append(report.CommandStatuses, status)
	}
	s.pushes.Unlock()

	if !req.Capabilities.Supports(capability.ReportStatus) {
		return nil
	}
	if !req.Capabilities.Supports(capability.Sideband64k) {
		return report.Encode(out)
	}
	var said bytes.Buffer
	if err := report.Encode(&said); err != nil {
		return err
	}
	if _, err := sideband.NewMuxer(sideband.Sideband64k, out).Write(said.Bytes()); err != nil {
		return err
	}
	return pktline.NewEncoder(out).Flush()
}

// unpack reads one pack and no byte more: over SSH the client keeps its end open and waits.
func unpack(st storage.Storer, in io.Reader) error {
	parser, err := packfile.NewParserWithStorage(packfile.NewScanner(in), st)
	if err != nil {
		return err
	}
	if _, err := parser.Parse(); err != nil && !errors.Is(err, packfile.ErrEmptyPackfile) {
		return err
	}
	return nil
}

func update(st storage.Storer, c *packp.Command) error {
	was := plumbing.ZeroHash
	if ref, err := st.Reference(c.Name); err == nil {
		was = ref.Hash()
	} else if !errors.Is(err, plumbing.ErrReferenceNotFound) {
		return err
	}
	switch {
	case was != c.Old:
		return errors.New("fetch first")
	case c.Action() == packp.Delete:
		return st.RemoveReference(c.Name)
	case st.HasEncodedObject(c.New) != nil:
		return fmt.Errorf("missing necessary objects")
	}
	return st.SetReference(plumbing.NewHashReference(c.Name, c.New))
}
