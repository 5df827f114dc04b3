package cc

import (
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/tree"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/world"
)

// Req is one request on its way through a handler.
type Req struct {
	Tx
	HTTP  *http.Request
	ID    string
	Base  string // scheme and host by which the caller reaches us: all links begin with it
	Token *Token
	Query url.Values

	body []byte
}

// maxBody bounds JSON and YAML bodies, maxUpload multipart ones, which go through temporary files.
const (
	maxBody   = 16 << 20
	maxUpload = 1 << 30
)

// Part reads a file of a multipart form into memory; nil when there is none. A text field of that name counts as well.
func (q *Req) Part(name string) ([]byte, error) {
	f := q.HTTP.MultipartForm
	if f == nil {
		return nil, nil
	}
	if h := f.File[name]; len(h) > 0 {
		r, err := h[0].Open()
		if err != nil {
			return nil, err
		}
		defer func() { _ = r.Close() }()
		return io.ReadAll(r)
	}
	return nil, nil
}

// PartName is the name that a file of a multipart form has; "" when there is none.
func (q *Req) PartName(name string) string {
	if f := q.HTTP.MultipartForm; f != nil && len(f.File[name]) > 0 {
		return f.File[name][0].Filename
	}
	return ""
}

// Field is a text field of a multipart form.
func (q *Req) Field(name string) (string, bool) {
	f := q.HTTP.MultipartForm
	if f == nil || len(f.Value[name]) == 0 {
		return "", false
	}
	return f.Value[name][0], true
}

func (q *Req) init() {
	q.ID = world.GUID() + "::" + world.GUID()
	q.Base = BaseURL(q.HTTP)
	q.Query, _ = url.ParseQuery(strings.ReplaceAll(q.HTTP.URL.RawQuery, ";", "%3B"))
}

// BaseURL is where the caller of a request believes to be: links keep the name and scheme that the caller used.
func BaseURL(r *http.Request) string {
	scheme := "http"
	if r.TLS != nil || r.URL.Scheme == "https" {
		scheme = "https"
	}
	if p := r.Header.Get("X-Forwarded-Proto"); p == "http" || p == "https" {
		scheme = p
	}
	host := r.Host
	if host == "" {
		host = r.URL.Host
	}
	return scheme + "://" + host
}

// authenticate reads the bearer token: none is 10002, one that cannot be read 1000 (observed fact).
func (q *Req) authenticate() error {
	h := q.HTTP.Header.Get("Authorization")
	scheme, token, _ := strings.Cut(h, " ")
	if !strings.EqualFold(scheme, "bearer") {
		return notAuthenticated()
	}
	t, err := q.S.Authorize(strings.TrimSpace(token))
	if err != nil {
		return invalidToken()
	}
	q.Token = t
	q.Actor = world.Actor{GUID: t.UserID, Name: t.Email, User: t.UserName}
	if t.UserID == "" {
		q.Actor.GUID = t.ClientID
	}
	if q.HTTP.Method == http.MethodGet || q.HTTP.Method == http.MethodHead {
		if !q.scope("cloud_controller.read") && !q.ReadsAll() {
			return insufficientScope()
		}
	} else if !q.scope("cloud_controller.write") && !q.Admin() {
		return insufficientScope()
	}
	return nil
}

// stranger reports whether the caller is a user whom the controller has not met yet.
func (q *Req) stranger() bool {
	if q.Token == nil || q.Token.UserID == "" {
		return false
	}
	q.S.mu.RLock()
	defer q.S.mu.RUnlock()
	u, ok := q.W.Users.Get(q.Token.UserID)
	return !ok || !u.Listed
}

// meet lists the user who acts with the controller, which knows users from their first request on.
func (q *Req) meet() {
	if q.Token == nil || q.Token.UserID == "" {
		return
	}
	u, ok := q.W.Users.Get(q.Token.UserID)
	if !ok {
		u = &world.User{Base: q.W.Base(), Username: q.Token.UserName, Email: q.Token.Email, Origin: q.Token.Origin}
		u.GUID = q.Token.UserID
		q.W.Users.Insert(u)
	}
	u.Listed = true
}

func (q *Req) readBody() error {
	if q.HTTP.Body == nil {
		return nil
	}
	if strings.HasPrefix(q.HTTP.Header.Get("Content-Type"), "multipart/") {
		q.HTTP.Body = io.NopCloser(io.LimitReader(q.HTTP.Body, maxUpload))
		if err := q.HTTP.ParseMultipartForm(maxBody); err != nil {
			return ParseError()
		}
		return nil
	}
	b, err := io.ReadAll(io.LimitReader(q.HTTP.Body, maxBody+1))
	if err != nil {
		return err
	}
	if len(b) > maxBody {
		return NewError(http.StatusRequestEntityTooLarge, 10001, "RequestEntityTooLarge", "The request is too large")
	}
	q.body = b
	return nil
}

// Text is the body as it came.
func (q *Req) Text() []byte { return q.body }

// JSON reads the body as an object. Nothing at all is an empty object, a list is an object with the one field _json:
// that is how the controller's framework hands them over (observed fact).
func (q *Req) JSON() (tree.Obj, error) {
	if len(strings.TrimSpace(string(q.body))) == 0 {
		return tree.Obj{}, nil
	}
	v, err := tree.Parse(q.body)
	if err != nil {
		return nil, ParseError()
	}
	if o, ok := v.(tree.Obj); ok {
		return o, nil
	}
	return tree.O("_json", v), nil
}

// Var is a variable of the path pattern.
func (q *Req) Var(name string) string { return q.HTTP.PathValue(name) }

// Values are the parts of a query parameter; nil when it is not there.
func (q *Req) Values(name string) []string {
	if v, ok := q.Query[name]; ok {
		return strings.Split(v[len(v)-1], ",")
	}
	return nil
}

// Link is a link object to a path of ours.
func (q *Req) Link(path string) tree.Obj { return tree.Obj{{Key: "href", Value: q.Base + path}} }

// Action is a link object to something that is not reached with GET.
func (q *Req) Action(path, method string) tree.Obj {
	return tree.Obj{{Key: "href", Value: q.Base + path}, {Key: "method", Value: method}}
}

func (q *Req) scope(s string) bool { return slices.Contains(q.Token.Scopes, s) }
