package remote

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
)

// File is a file behind a URL with http or https.
type File struct {
	Client   *Client
	URL      string
	Checksum string // "sha256:…"; "" where none is declared
	Droplet  bool   // it has to be a .tgz, otherwise a zip, jar or war
	Credentials
}

// Copy downloads the file into w. An error may come after all of it was written, when the checksum turns out to be another:
// only without an error is w what was declared.
func (f *File) Copy(ctx context.Context, w io.Writer, progress Progress) error {
	where := Shown(f.URL)
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	resp, err := f.get(ctx)
	if err != nil {
		return broken(ctx, where, err)
	}
	defer resp.Body.Close()
	if resp.ContentLength > largest {
		return broken(ctx, where, errTooLarge)
	}
	body, release := watch(resp.Body, resp.ContentLength, progress, stop)
	defer release()

	// The first bytes are looked at before any is passed on: whoever may write a manifest shall not use the agent to fetch
	// pages from inside its network.
	buffered := bufio.NewReaderSize(body, 64<<10)
	head, err := buffered.Peek(2)
	if err != nil && !errors.Is(err, io.EOF) {
		return broken(ctx, where, err)
	}
	if got := kindOf(head); f.Droplet && got != kindGzip {
		return &Error{Where: where, Message: "what it gives is no droplet (.tgz)", Hint: "check the URL; it may lead to a login page"}
	} else if !f.Droplet && got != kindZip {
		return &Error{Where: where, Message: "what it gives is no zip, jar or war archive", Hint: "check the URL; it may lead to a login page"}
	}
	sum, out := sha256.New(), &writing{Writer: w}
	if _, err := io.Copy(io.MultiWriter(out, sum), buffered); err != nil {
		if out.err != nil {
			return out.err
		}
		return broken(ctx, where, err)
	}
	if got := "sha256:" + hex.EncodeToString(sum.Sum(nil)); f.Checksum != "" && got != f.Checksum {
		return &Error{
			Where: where, Message: fmt.Sprintf("the file has the checksum %s, declared is %s", got, f.Checksum),
			Hint: "if the file was replaced on purpose, declare its new checksum",
		}
	}
	return nil
}

func (f *File) get(ctx context.Context) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, f.URL, nil)
	if err != nil {
		return nil, &Error{Where: Shown(f.URL), Message: "it is not a URL"}
	}
	if f.Username != "" {
		req.SetBasicAuth(f.Username, f.Password)
	}
	if f.Client != nil && f.Client.UserAgent != "" {
		req.Header.Set("User-Agent", f.Client.UserAgent)
	}
	client := http.Client{Transport: f.Client.transport(), CheckRedirect: sober}
	resp, err := client.Do(req)
	if err != nil {
		var refused *Error
		if errors.As(err, &refused) {
			return nil, refused
		}
		return nil, err
	}
	if resp.StatusCode == http.StatusOK {
		return resp, nil
	}
	resp.Body.Close()
	e := &Error{Where: Shown(f.URL), Message: "the server answers " + resp.Status}
	switch code := resp.StatusCode; {
	case code == http.StatusUnauthorized || code == http.StatusForbidden:
		e.Hint = "check access_credentials, and whether the user may read the file"
	case code == http.StatusNotFound || code == http.StatusGone:
		e.Hint = "check the URL"
	case code >= 500 || code == http.StatusTooManyRequests:
		e.Again = true
	}
	return nil, e
}

// sober follows few redirects, and none that gives up encryption. net/http itself keeps credentials from other hosts.
func sober(next *http.Request, via []*http.Request) error {
	from := via[len(via)-1].URL
	switch {
	case len(via) > redirects:
		return &Error{Where: Shown(via[0].URL.String()), Message: fmt.Sprintf("it redirects more than %d times", redirects)}
	case from.Scheme == "https" && next.URL.Scheme != "https":
		return &Error{Where: Shown(via[0].URL.String()), Message: "it redirects from https to " + Shown((&url.URL{Scheme: next.URL.Scheme, Host: next.URL.Host}).String()), Hint: "name a URL that stays encrypted"}
	}
	return nil
}
