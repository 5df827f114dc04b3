package ccv3

import (
	"context"
	"fmt"
	"io"
	"maps"
	"mime/multipart"
	"net/http"
	"slices"
	"time"
)

const longestUpload = time.Hour

// Upload posts a form with one file. body writes the file's content and is called again if the upload is repeated,
// which happens only where the controller cannot have taken it (no connection, 401, 429); it must write the same
// each time. The content is streamed: memory stays small whatever the size. fields are sent before the file; body may be nil.
func (c *Client) Upload(ctx context.Context, path, field, filename string, body func(io.Writer) error, fields map[string]string, out any) (*Response, error) {
	// One boundary for all attempts, so that the content type stays valid.
	boundary := multipart.NewWriter(io.Discard).Boundary()
	r := request{
		method: http.MethodPost, path: path, timeout: longestUpload, size: -1,
		contentType: "multipart/form-data; boundary=" + boundary,
		body: func() (io.ReadCloser, error) {
			pr, pw := io.Pipe()
			done := make(chan struct{})
			go func() {
				defer close(done)
				pw.CloseWithError(writeForm(pw, boundary, field, filename, body, fields))
			}()
			return &pipeBody{PipeReader: pr, done: done}, nil
		},
	}
	resp, data, err := c.send(ctx, r)
	if err != nil {
		return nil, err
	}
	return resp, decode(r, resp, data, out)
}

func writeForm(w io.Writer, boundary, field, filename string, body func(io.Writer) error, fields map[string]string) error {
	form := multipart.NewWriter(w)
	if err := form.SetBoundary(boundary); err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(fields)) {
		if err := form.WriteField(name, fields[name]); err != nil {
			return err
		}
	}
	if body != nil {
		file, err := form.CreateFormFile(field, filename)
		if err != nil {
			return err
		}
		if err := body(file); err != nil {
			return fmt.Errorf("reading what is to be uploaded: %w", err)
		}
	}
	return form.Close()
}

// pipeBody ends the writing goroutine when the transport closes the body, and waits for it: nobody reads
// the files after the request is over.
type pipeBody struct {
	*io.PipeReader
	done <-chan struct{}
}

func (b *pipeBody) Close() error {
	err := b.PipeReader.Close()
	<-b.done
	return err
}
