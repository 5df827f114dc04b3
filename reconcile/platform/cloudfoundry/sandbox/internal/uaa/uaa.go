// Package uaa is the account server beside the Cloud Controller: token grants, really signed tokens, and the look-ups
// that cf and the controller need.
//
// Tokens carry all that is said about their bearer and are checked by their signature alone, so nothing about sessions
// is stored. It never decides what a user may do with the controller; it only names scopes.
package uaa

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math/big"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/cc"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/tree"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/world"
)

// Config is what can be set.
type Config struct {
	Path       string // where it is reached below the base URL, "/uaa"
	AccessTTL  time.Duration
	RefreshTTL time.Duration
	Now        func() time.Time
}

// Server answers the endpoints of UAA.
type Server struct {
	Config
	cc  *cc.Server
	mux *http.ServeMux

	restored atomic.Pointer[rsa.PrivateKey] // instead of signingKey

	codesMu sync.Mutex
	codes   map[string]temporary
}

const keyID = "sandbox-key-1"

// signingKey is made once per process: 2048 bits cost a good part of a second, and tests make many sandboxes.
var signingKey = sync.OnceValue(func() *rsa.PrivateKey {
	k, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err) //nolint:forbidigo // crypto/rand does not fail
	}
	return k
})

func (s *Server) signer() *rsa.PrivateKey {
	if k := s.restored.Load(); k != nil {
		return k
	}
	return signingKey()
}

// Key returns the key that tokens are signed with, in PKCS #8; SetKey replaces it. With the key the tokens that people
// have outlive a restart.
func (s *Server) Key() ([]byte, error) { return x509.MarshalPKCS8PrivateKey(s.signer()) }

// SetKey replaces the key.
func (s *Server) SetKey(pkcs8 []byte) error {
	k, err := x509.ParsePKCS8PrivateKey(pkcs8)
	if err != nil {
		return err
	}
	key, ok := k.(*rsa.PrivateKey)
	if !ok {
		return fmt.Errorf("a %T cannot sign RS256", k)
	}
	s.restored.Store(key)
	return nil
}

// New makes a UAA whose users are those of the controller's world. Bind ties them together afterwards.
func New(c Config) *Server {
	s := &Server{Config: c, mux: http.NewServeMux()}
	s.mux.HandleFunc("POST /oauth/token", s.token)
	s.mux.HandleFunc("GET /token_keys", s.keys)
	s.mux.HandleFunc("GET /token_key", s.key)
	s.mux.HandleFunc("GET /info", s.info)
	s.mux.HandleFunc("GET /login", s.info)
	s.mux.HandleFunc("GET /{$}", s.info)
	s.mux.HandleFunc("GET /userinfo", s.userinfo)
	s.registerAccounts()
	s.mux.HandleFunc("GET /oauth/clients/{id}", s.showClient)
	s.mux.HandleFunc("GET /passcode", s.passcode)
	s.mux.HandleFunc("GET /oauth/authorize", s.authorizeCode)
	s.mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("ok\n")) })
	return s
}

// Bind names the controller whose users may log in.
func (s *Server) Bind(c *cc.Server) { s.cc = c }

func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) { s.mux.ServeHTTP(w, r) }

func reply(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json;charset=UTF-8")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_, _ = w.Write(tree.JSON(v))
}

func refuse(w http.ResponseWriter, status int, code, text string) {
	reply(w, status, tree.O("error", code, "error_description", text))
}

// claims is what our tokens say.
type claims struct {
	jwt.RegisteredClaims
	UserID    string   `json:"user_id,omitempty"`
	UserName  string   `json:"user_name,omitempty"`
	Email     string   `json:"email,omitempty"`
	Origin    string   `json:"origin,omitempty"`
	ClientID  string   `json:"client_id"`
	CID       string   `json:"cid"`
	AZP       string   `json:"azp"`
	GrantType string   `json:"grant_type"`
	Scope     []string `json:"scope"`
	ZID       string   `json:"zid"`
	Refresh   bool     `json:"refresh,omitempty"`
}

func (s *Server) client(r *http.Request) (*world.Client, bool) {
	id, secret, ok := r.BasicAuth()
	if ok { // RFC 6749 section 2.3.1: both are form-encoded inside the header
		if u, err := url.QueryUnescape(id); err == nil {
			id = u
		}
		if u, err := url.QueryUnescape(secret); err == nil {
			secret = u
		}
	} else {
		id, secret = r.PostFormValue("client_id"), r.PostFormValue("client_secret")
	}
	var found *world.Client
	s.cc.View(func(tx *cc.Tx) {
		for c := range tx.W.Clients.All() {
			if c.Name == id && c.Secret == secret {
				found = c
			}
		}
	})
	return found, found != nil
}

func (s *Server) token(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, 1<<20)
	if err := r.ParseForm(); err != nil {
		refuse(w, http.StatusBadRequest, "invalid_request", "The form cannot be read")
		return
	}
	grant := r.Form.Get("grant_type")
	client, ok := s.client(r)
	if !ok {
		refuse(w, http.StatusUnauthorized, "unauthorized", "Bad credentials")
		return
	}
	if !slices.Contains(client.GrantTypes, grant) {
		refuse(w, http.StatusUnauthorized, "unauthorized_client", "Unauthorized grant type: "+grant)
		return
	}
	switch grant {
	case "password":
		if code := r.Form.Get("passcode"); code != "" {
			s.passcodeGrant(w, r, client, code)
			return
		}
		origin := loginHint(r)
		u := s.userBy(func(u *world.User) bool {
			return strings.EqualFold(u.Username, r.Form.Get("username")) && (origin == "" || u.Origin == origin) && u.Password != "" && u.Password == r.Form.Get("password")
		})
		if u == nil {
			refuse(w, http.StatusUnauthorized, "unauthorized", "Bad credentials")
			return
		}
		s.grant(w, r, client, u, grant)
	case "refresh_token":
		c, err := s.parse(r.Form.Get("refresh_token"))
		if err != nil || !c.Refresh || c.ClientID != client.Name {
			refuse(w, http.StatusUnauthorized, "invalid_token", "The token expired, was revoked, or the token ID is incorrect")
			return
		}
		u := s.userBy(func(u *world.User) bool { return u.GUID == c.UserID })
		if u == nil {
			refuse(w, http.StatusUnauthorized, "invalid_token", "The user of the token is gone")
			return
		}
		s.grant(w, r, client, u, c.GrantType)
	case "client_credentials":
		s.grant(w, r, client, nil, grant)
	case JWTBearer:
		s.assertionGrant(w, r, client)
	default:
		refuse(w, http.StatusBadRequest, "unsupported_grant_type", "Unsupported grant type: "+grant)
	}
}

// loginHint is the identity provider that cf auth --origin names; none without it.
func loginHint(r *http.Request) string {
	var hint struct {
		Origin string `json:"origin"`
	}
	_ = json.Unmarshal([]byte(r.Form.Get("login_hint")), &hint) // no hint, or one for somebody else
	return hint.Origin
}

func (s *Server) userBy(match func(*world.User) bool) (found *world.User) {
	s.cc.View(func(tx *cc.Tx) {
		for u := range tx.W.Users.All() {
			if match(u) {
				c := *u
				found = &c
				return
			}
		}
	})
	return found
}

// grant writes the token answer; u is nil for a client that acts for itself.
func (s *Server) grant(w http.ResponseWriter, r *http.Request, client *world.Client, u *world.User, grant string) {
	now := s.Now()
	c := claims{
		ClientID: client.Name, CID: client.Name, AZP: client.Name, GrantType: grant, ZID: "uaa", Scope: client.Scopes,
		RegisteredClaims: jwt.RegisteredClaims{
			ID: world.GUID(), Issuer: cc.BaseURL(r) + s.Path + "/oauth/token", Subject: client.Name,
			Audience: jwt.ClaimStrings{"cloud_controller", client.Name}, IssuedAt: jwt.NewNumericDate(now), ExpiresAt: jwt.NewNumericDate(now.Add(s.AccessTTL)),
		},
	}
	if u != nil {
		c.Subject, c.UserID, c.UserName, c.Email, c.Origin, c.Scope = u.GUID, u.GUID, u.Username, u.Email, u.Origin, u.Scopes
	}
	access, err := s.sign(c)
	if err != nil {
		refuse(w, http.StatusInternalServerError, "server_error", err.Error())
		return
	}
	out := tree.O("access_token", access, "token_type", "bearer")
	if u != nil {
		long := c
		long.Refresh, long.Scope, long.ID, long.ExpiresAt = true, nil, world.GUID()+"-r", jwt.NewNumericDate(now.Add(s.RefreshTTL))
		refresh, err := s.sign(long)
		if err != nil {
			refuse(w, http.StatusInternalServerError, "server_error", err.Error())
			return
		}
		out.Set("refresh_token", refresh)
	}
	out.Set("expires_in", int(s.AccessTTL.Seconds()))
	out.Set("scope", strings.Join(c.Scope, " "))
	out.Set("jti", c.ID)
	reply(w, http.StatusOK, out)
}

func (s *Server) sign(c claims) (string, error) {
	t := jwt.NewWithClaims(jwt.SigningMethodRS256, c)
	t.Header["kid"] = keyID
	return t.SignedString(s.signer())
}

func (s *Server) parse(token string) (*claims, error) {
	var c claims
	_, err := jwt.ParseWithClaims(token, &c, func(*jwt.Token) (any, error) { return &s.signer().PublicKey, nil },
		jwt.WithValidMethods([]string{"RS256"}), jwt.WithTimeFunc(s.Now), jwt.WithExpirationRequired())
	return &c, err
}

// Authorize reads an access token for the controller.
func (s *Server) Authorize(token string) (*cc.Token, error) {
	c, err := s.parse(token)
	if err != nil {
		return nil, err
	}
	if c.Refresh {
		return nil, jwt.ErrTokenInvalidClaims
	}
	return &cc.Token{UserID: c.UserID, UserName: c.UserName, Email: c.Email, Origin: c.Origin, ClientID: c.ClientID, Scopes: c.Scope}, nil
}

func (s *Server) publicKey() tree.Obj {
	k := s.signer().PublicKey
	b64 := base64.RawURLEncoding.EncodeToString
	return tree.O("kty", "RSA", "e", b64(big.NewInt(int64(k.E)).Bytes()), "use", "sig", "kid", keyID, "alg", "RS256", "n", b64(k.N.Bytes()))
}

func (s *Server) keys(w http.ResponseWriter, _ *http.Request) {
	reply(w, http.StatusOK, tree.O("keys", []any{s.publicKey()}))
}

func (s *Server) key(w http.ResponseWriter, _ *http.Request) { reply(w, http.StatusOK, s.publicKey()) }

func (s *Server) info(w http.ResponseWriter, r *http.Request) {
	self := cc.BaseURL(r) + s.Path
	reply(w, http.StatusOK, tree.O(
		"app", tree.O("version", "77.20.0"),
		"links", tree.O("uaa", self, "login", self, "passwd", self+"/forgot_password", "register", self+"/create_account"),
		"zone_name", "uaa", "entityID", self, "commit_id", "sandbox", "idpDefinitions", tree.Obj{},
		"prompts", tree.O("username", []any{"text", "Email"}, "password", []any{"password", "Password"},
			"passcode", []any{"password", "Temporary Authentication Code ( Get one at " + self + "/passcode )"}),
		"timestamp", s.Now().UTC().Format(time.RFC3339),
	))
}

func bearer(r *http.Request) string {
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if !strings.EqualFold(scheme, "bearer") {
		return ""
	}
	return token
}

func (s *Server) userinfo(w http.ResponseWriter, r *http.Request) {
	c, err := s.parse(bearer(r))
	if err != nil || c.UserID == "" {
		refuse(w, http.StatusUnauthorized, "unauthorized", "Full authentication is required to access this resource")
		return
	}
	reply(w, http.StatusOK, tree.O("user_id", c.UserID, "sub", c.UserID, "user_name", c.UserName, "email", c.Email, "name", c.UserName))
}

// Scopes of an ordinary user.
var ordinary = []string{"openid", "cloud_controller.read", "cloud_controller.write", "password.write", "uaa.user", "network.write"}

// AddUser makes a user that can log in. Further scopes (cloud_controller.admin …) are added to those of every user.
func AddUser(tx *cc.Tx, name, password, email, origin string, scopes []string) *world.User {
	if origin == "" {
		origin = "uaa"
	}
	if email == "" {
		email = name
	}
	u := &world.User{Base: tx.W.Base(), Username: name, Email: email, Origin: origin, Password: password, Scopes: append(slices.Clone(ordinary), scopes...)}
	tx.W.Users.Insert(u)
	return u
}

// AddClient makes an OAuth client.
func AddClient(tx *cc.Tx, name, secret string, grants, scopes []string) {
	tx.W.Clients.Insert(&world.Client{Base: tx.W.Base(), Name: name, Secret: secret, GrantTypes: grants, Scopes: scopes})
}
