package sandbox

import (
	"io"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/cc"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/edge"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/quotas"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/router"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/settings"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/uaa"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/world"
)

// User can log in to the sandbox.
type User struct {
	Name, Password string
	Email          string // the name when empty; audit events name their actor by it
	Origin         string // "uaa" when empty
	// Scopes beyond those of every user: cloud_controller.admin, .admin_read_only or .global_auditor.
	Scopes []string
}

// Client is an OAuth client that can log in with client credentials.
type Client struct {
	Name, Secret string
	Scopes       []string
}

// Options say what the sandbox is like. The zero value is a usable one.
type Options struct {
	// Now is the clock; time.Now when nil.
	Now func() time.Time
	// Speed divides all durations; 1 when zero.
	Speed float64

	// Durations at speed 1; each has a default.
	Staging    time.Duration // a build, 1.5 s
	Start      time.Duration // an instance from STARTING to RUNNING, 0.8 s
	Job        time.Duration // an asynchronous job, 0.2 s
	Upload     time.Duration // processing of uploaded bits, 0.3 s
	Step       time.Duration // between two steps of a deployment, 0.3 s
	Task       time.Duration // a task, 1 s
	AccessTTL  time.Duration // of access tokens, 10 min; not divided by Speed
	RefreshTTL time.Duration // of refresh tokens, 30 days

	RateLimit RateLimit // off when zero
	Faults    []Fault   // what goes wrong

	Users   []User   // admin/admin (an administrator) and dev/dev (no roles) when nil
	Clients []Client // beside the client cf

	SharedDomain   string // "apps.sandbox.test"
	InternalDomain string // "apps.internal"
	Stack          string // "cflinuxfs4"

	Log        *slog.Logger // of failures inside; discarded when nil
	RequestLog io.Writer    // a line for each request (method, path, status, duration, who), never a header or a body; none when nil
}

func or[T comparable](v, fallback T) T {
	var zero T
	if v == zero {
		return fallback
	}
	return v
}

// Sandbox is a running Cloud Controller with UAA.
type Sandbox struct {
	cc  *cc.Server
	uaa *uaa.Server
	mux *http.ServeMux // behind the counter, the faults and the rate limiter

	logins  []User // that the options name
	clients []Client
	outer   http.Handler // the request log, or the counter

	counter *edge.Counter
	faults  *edge.Injector
	limiter *edge.Limiter
	router  *router.Router
}

// uaaPath is where UAA is found below the base URL.
const uaaPath = "/uaa"

// New makes a sandbox with its users, domains and settings, and nothing else in it.
func New(o Options) *Sandbox {
	if o.Now == nil {
		o.Now = time.Now
	}
	w := world.New()
	w.Now = o.Now()
	u := uaa.New(uaa.Config{
		Path: uaaPath, Now: o.Now,
		AccessTTL: or(o.AccessTTL, 10*time.Minute), RefreshTTL: or(o.RefreshTTL, 30*24*time.Hour),
	})
	s := &Sandbox{uaa: u, mux: http.NewServeMux(), faults: &edge.Injector{}, logins: o.Users, clients: o.Clients}
	s.cc = cc.NewServer(cc.Config{
		Now: o.Now, Speed: or(o.Speed, 1), UAAPath: uaaPath, Log: o.Log, Authorize: u.Authorize, Trouble: s.faults.Work,
		Job: or(o.Job, 200*time.Millisecond), Upload: or(o.Upload, 300*time.Millisecond), Staging: or(o.Staging, 1500*time.Millisecond),
		Start: or(o.Start, 800*time.Millisecond), Step: or(o.Step, 300*time.Millisecond), Task: or(o.Task, time.Second),
	}, w)
	u.Bind(s.cc)
	for _, register := range append(slices.Clone(areas), platformAreas...) {
		register(s.cc)
	}
	s.seed(o)
	s.mux.Handle(uaaPath+"/", http.StripPrefix(uaaPath, u))
	s.router = &router.Router{S: s.cc}
	s.registerAdmin()
	s.buildEdge(o)
	return s
}

func (s *Sandbox) seed(o Options) {
	users := o.Users
	if users == nil {
		users = []User{
			{Name: "admin", Password: "admin", Scopes: AdminScopes},
			{Name: "dev", Password: "dev"},
		}
	}
	s.cc.Update(func(tx *cc.Tx) {
		for _, u := range users {
			uaa.AddUser(tx, u.Name, u.Password, u.Email, u.Origin, u.Scopes)
		}
		uaa.AddClient(tx, "cf", "", []string{"password", "refresh_token", uaa.JWTBearer}, nil)
		for _, c := range o.Clients {
			uaa.AddClient(tx, c.Name, c.Secret, []string{"client_credentials", uaa.JWTBearer}, c.Scopes)
		}
		quotas.Seed(tx)
		seedPlatform(tx)
		settings.Seed(tx, or(o.Stack, "cflinuxfs4"))
		tx.W.Domains.Insert(&world.Domain{Base: tx.W.Base(), Name: or(o.SharedDomain, "apps.sandbox.test")})
		tx.W.Domains.Insert(&world.Domain{Base: tx.W.Base(), Name: or(o.InternalDomain, "apps.internal"), Internal: true})
	})
}

// ServeHTTP answers the API, the account server below /uaa, the log cache below /log-cache, and about itself below /sandbox; and
// for the apps, where the Host is that of a route.
func (s *Sandbox) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if s.router.Serves(r) {
		s.router.ServeHTTP(w, r)
		return
	}
	if r.URL.Path == adminPath || strings.HasPrefix(r.URL.Path, adminPath+"/") {
		s.mux.ServeHTTP(w, r)
		return
	}
	s.outer.ServeHTTP(w, r)
}

// SetSpeed changes how many times faster than usual things go from now on; what is under way keeps its moment.
func (s *Sandbox) SetSpeed(speed float64) { s.cc.SetSpeed(speed) }
