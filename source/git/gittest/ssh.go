package gittest

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"

	"github.com/skeema/knownhosts"
	"golang.org/x/crypto/ssh"
)

// SSH is a running SSH server on loopback that does nothing but git-upload-pack and git-receive-pack.
type SSH struct {
	Addr    string // "127.0.0.1:PORT"
	HostKey ssh.PublicKey

	git      *Server
	config   *ssh.ServerConfig
	listener net.Listener
	running  sync.WaitGroup
	mu       sync.Mutex
	open     map[net.Conn]bool // nil after Close
}

// ListenSSH serves on a free port of loopback until Close, with a new host key.
func (s *Server) ListenSSH() (*SSH, error) {
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, err
	}
	signer, err := ssh.NewSignerFromSigner(key)
	if err != nil {
		return nil, err
	}
	l, err := listenLoopback()
	if err != nil {
		return nil, fmt.Errorf("starting the Git server: %w", err)
	}
	h := &SSH{Addr: l.Addr().String(), HostKey: signer.PublicKey(), git: s, listener: l, open: map[net.Conn]bool{}}
	h.config = &ssh.ServerConfig{
		PublicKeyCallback: func(_ ssh.ConnMetadata, key ssh.PublicKey) (*ssh.Permissions, error) {
			for _, k := range s.Keys {
				if bytes.Equal(k.Marshal(), key.Marshal()) {
					return nil, nil
				}
			}
			return nil, errors.New("unknown key")
		},
		PasswordCallback: func(c ssh.ConnMetadata, password []byte) (*ssh.Permissions, error) {
			if !s.password(c.User(), string(password)) {
				return nil, errors.New("wrong password")
			}
			return nil, nil
		},
	}
	h.config.AddHostKey(signer)
	h.running.Go(h.accept)
	return h, nil
}

// URL is the address of one repository: "ssh://git@127.0.0.1:PORT/NAME".
func (h *SSH) URL(name string) string { return "ssh://git@" + h.Addr + "/" + name }

// KnownHosts is the line for a known_hosts file.
func (h *SSH) KnownHosts() string { return knownhosts.Line([]string{h.Addr}, h.HostKey) + "\n" }

// Close stops the server and cuts open connections.
func (h *SSH) Close() error {
	err := h.listener.Close()
	h.mu.Lock()
	for c := range h.open {
		_ = c.Close()
	}
	h.open = nil
	h.mu.Unlock()
	h.running.Wait()
	return err
}

func (h *SSH) accept() {
	for {
		c, err := h.listener.Accept()
		if err != nil {
			return
		}
		h.mu.Lock()
		if h.open == nil {
			_ = c.Close()
		} else {
			h.open[c] = true
		}
		h.mu.Unlock()
		h.running.Go(func() {
			h.connection(c)
			_ = c.Close()
			h.mu.Lock()
			delete(h.open, c)
			h.mu.Unlock()
		})
	}
}

func (h *SSH) connection(c net.Conn) {
	conn, channels, requests, err := ssh.NewServerConn(c, h.config)
	if err != nil {
		return
	}
	defer conn.Close()
	var sessions sync.WaitGroup
	defer sessions.Wait()
	sessions.Go(func() { ssh.DiscardRequests(requests) })
	for ch := range channels {
		if ch.ChannelType() != "session" {
			_ = ch.Reject(ssh.UnknownChannelType, "only sessions")
			continue
		}
		channel, requests, err := ch.Accept()
		if err != nil {
			return
		}
		sessions.Go(func() { h.session(channel, requests) })
	}
}

// session waits for the one command that a session may run (RFC 4254 section 6.5), and ignores the rest.
func (h *SSH) session(channel ssh.Channel, requests <-chan *ssh.Request) {
	defer channel.Close()
	for r := range requests {
		if r.Type != "exec" {
			_ = r.Reply(r.Type == "env", nil)
			continue
		}
		var command struct{ Line string }
		if err := ssh.Unmarshal(r.Payload, &command); err != nil {
			_ = r.Reply(false, nil)
			return
		}
		_ = r.Reply(true, nil)
		status := make([]byte, 4)
		if err := h.run(command.Line, channel); err != nil {
			fmt.Fprintf(channel.Stderr(), "fatal: %s\n", err)
			binary.BigEndian.PutUint32(status, 128)
		}
		_, _ = channel.SendRequest("exit-status", false, status)
		return
	}
}

func (h *SSH) run(line string, channel io.ReadWriter) error {
	command, path, _ := strings.Cut(line, " ")
	if command != uploadPack && command != receivePack {
		return fmt.Errorf("%q is not allowed here", command)
	}
	path = strings.Trim(path, "'")
	st, err := h.git.open(path)
	if err != nil {
		return fmt.Errorf("'%s' does not appear to be a git repository", path)
	}
	defer st.Close()
	ar, err := h.git.advertise(st, command)
	if err != nil {
		return err
	}
	if err := ar.Encode(channel); err != nil {
		return err
	}
	if command == receivePack {
		return h.git.receive(st, channel, channel)
	}
	return h.git.upload(st, channel, channel, false)
}
