package cli_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/json"
	"encoding/pem"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"golang.org/x/crypto/ssh"

	"github.com/fettle-gitops/fettle/cmd/internal/cli"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/ccv3"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox"
	"github.com/fettle-gitops/fettle/source/git/gittest"
)

var update = flag.Bool("update", false, "write what is said into the scripts' golden files")

// TestMain lets the scripts start the real program as a process of its own, under the name fettle.
func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){
		"fettle": func() {
			ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
			code := cli.Main(ctx, os.Args[1:], cli.System())
			stop()
			os.Exit(code)
		},
	})
}

// TestScripts runs testdata/script/*.txtar. Each one tells how the program behaves in one situation, against a sandbox
// and Git servers of its own. The commands beside those of testscript:
//
//	sandbox [option=value…]     starts a foundation with org acme, space dev and the users admin, fettle (the one in
//	                            CF_USERNAME) and alex, both developers there. Options: speed, ttl (of tokens), memory
//	                            (quota of the org in MB)
//	api USER METHOD PATH [JSON] makes one V3 request; {app:NAME}, {route:URL}, {space:NAME}, {org:NAME} in PATH and JSON
//	                            become guids
//	stats APP                   prints the states of the web instances
//	repo NAME DIR               makes a Git repository out of a folder and serves it: $NAME_HTTP, $NAME_SSH (with the files
//	                            id_NAME and known_hosts_NAME), $NAME_DIR
//	push NAME DIR MESSAGE       commits what is in the folder (files that begin with #! are executable)
//	rmfile NAME PATH            commits the removal of a file
//	branch NAME delete          deletes the default branch; branch NAME forcepush DIR rewrites it
//	envfile FILE                replaces $VARIABLES in a file
//	said                        prints what the last command said on its error stream, without the lines of progress, and
//	                            with $CF_API and $WORK for what differs from run to run
//	until REGEXP exec COMMAND…  repeats a command until its standard output matches
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script",
		Setup: func(e *testscript.Env) error {
			examples, err := filepath.Abs("../../../examples")
			if err != nil {
				return err
			}
			e.Setenv("EXAMPLES", examples)
			e.Setenv("HOME", e.WorkDir)
			e.Setenv("NO_COLOR", "1")
			w := &world{repos: map[string]*gittest.Repo{}}
			e.Values["world"] = w
			e.Defer(w.close)
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"sandbox": cmdSandbox, "api": cmdAPI, "stats": cmdStats,
			"repo": cmdRepo, "push": cmdPush, "rmfile": cmdRemove, "branch": cmdBranch, "until": cmdUntil, "envfile": cmdEnvFile, "said": cmdSaid,
		},
		UpdateScripts:       *update,
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
	})
}

// world is what one script has started.
type world struct {
	foundation *httptest.Server
	repos      map[string]*gittest.Repo
	stop       []func()
}

func (w *world) close() {
	for i := len(w.stop) - 1; i >= 0; i-- {
		w.stop[i]()
	}
}

func of(ts *testscript.TestScript) *world { return ts.Value("world").(*world) }

func cmdSandbox(ts *testscript.TestScript, neg bool, args []string) {
	w := of(ts)
	opts := sandbox.Options{Speed: 20, Users: []sandbox.User{
		{Name: "admin", Password: "admin", Scopes: sandbox.AdminScopes},
		{Name: "fettle", Password: "fettle-password", Email: "fettle@example.com"},
		{Name: "alex", Password: "alex-password", Email: "alex@example.com"},
	}, Clients: []sandbox.Client{{Name: "ci", Secret: "ci-secret", Scopes: sandbox.AdminScopes}}}
	memory := 0
	for _, arg := range args {
		name, value, _ := strings.Cut(arg, "=")
		var err error
		switch name {
		case "speed":
			opts.Speed, err = strconv.ParseFloat(value, 64)
		case "ttl":
			opts.AccessTTL, err = time.ParseDuration(value)
		case "memory":
			memory, err = strconv.Atoi(value)
		default:
			ts.Fatalf("sandbox: unknown option %s", arg)
		}
		ts.Check(err)
	}
	w.foundation = httptest.NewServer(sandbox.New(opts))
	w.stop = append(w.stop, w.foundation.Close)
	ts.Setenv("CF_API", w.foundation.URL)
	ts.Setenv("CF_USERNAME", "fettle")
	ts.Setenv("CF_PASSWORD", "fettle-password")

	api := client(ts, "admin")
	do := func(method, path string, in any) string {
		var out struct {
			GUID string `json:"guid"`
		}
		_, err := api.Do(context.Background(), method, path, in, &out)
		ts.Check(err)
		return out.GUID
	}
	to := func(guid string) map[string]any { return map[string]any{"data": map[string]any{"guid": guid}} }
	org := do("POST", "/v3/organizations", map[string]any{"name": "acme"})
	space := do("POST", "/v3/spaces", map[string]any{"name": "dev", "relationships": map[string]any{"organization": to(org)}})
	for _, user := range []string{"fettle", "alex"} {
		who := map[string]any{"data": map[string]any{"username": user, "origin": "uaa"}}
		do("POST", "/v3/roles", map[string]any{"type": "organization_user", "relationships": map[string]any{"user": who, "organization": to(org)}})
		do("POST", "/v3/roles", map[string]any{"type": "space_developer", "relationships": map[string]any{"user": who, "space": to(space)}})
	}
	if memory > 0 {
		do("POST", "/v3/organization_quotas", map[string]any{
			"name": "small", "apps": map[string]any{"total_memory_in_mb": memory},
			"relationships": map[string]any{"organizations": map[string]any{"data": []any{map[string]any{"guid": org}}}},
		})
	}
}

func client(ts *testscript.TestScript, user string) *ccv3.Client {
	password := user + "-password"
	if user == "admin" {
		password = "admin"
	}
	c, err := ccv3.New(ccv3.Config{API: of(ts).foundation.URL, Username: user, Password: password, UserAgent: "script/" + user, Timeout: 30 * time.Second})
	ts.Check(err)
	return c
}

var reference = regexp.MustCompile(`\{(app|route|space|org):([^}]+)\}`)

// resolve replaces {app:NAME} and its like by guids.
func resolve(ts *testscript.TestScript, api *ccv3.Client, text string) string {
	return reference.ReplaceAllStringFunc(text, func(m string) string {
		parts := reference.FindStringSubmatch(m)
		path := map[string]string{"app": "/v3/apps", "space": "/v3/spaces", "org": "/v3/organizations", "route": "/v3/routes"}[parts[1]]
		q := url.Values{}
		if parts[1] != "route" {
			q.Set("names", parts[2])
		}
		all, _, err := ccv3.List[struct{ GUID, URL string }](context.Background(), api, path, q)
		ts.Check(err)
		for _, r := range all {
			if parts[1] != "route" || r.URL == parts[2] {
				return r.GUID
			}
		}
		ts.Fatalf("there is no %s %s", parts[1], parts[2])
		return ""
	})
}

func cmdAPI(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) < 3 || len(args) > 4 {
		ts.Fatalf("usage: api USER METHOD PATH [JSON]")
	}
	api := client(ts, args[0])
	var in any
	if len(args) == 4 {
		ts.Check(json.Unmarshal([]byte(resolve(ts, api, args[3])), &in))
	}
	var out []byte // and nothing, where a job is what was answered
	resp, err := api.Do(context.Background(), args[1], resolve(ts, api, args[2]), in, &out)
	if err == nil && resp.Status == http.StatusAccepted && strings.Contains(resp.Location(), "/v3/jobs/") {
		err = api.Job(context.Background(), resp.Location())
	}
	if (err != nil) != neg {
		ts.Fatalf("api %s: error is %v", strings.Join(args, " "), err)
	}
	var pretty bytes.Buffer
	if json.Indent(&pretty, out, "", "  ") == nil {
		_, _ = io.Copy(ts.Stdout(), &pretty)
	}
}

func cmdStats(ts *testscript.TestScript, neg bool, args []string) {
	api := client(ts, "admin")
	var stats struct {
		Resources []struct{ State string }
	}
	_, err := api.Do(context.Background(), "GET", resolve(ts, api, "/v3/apps/{app:"+args[0]+"}/processes/web/stats"), nil, &stats)
	ts.Check(err)
	for _, s := range stats.Resources {
		fmt.Fprintln(ts.Stdout(), s.State)
	}
}

func cmdRepo(ts *testscript.TestScript, neg bool, args []string) {
	name, dir := args[0], ts.MkAbs(args[1])
	w := of(ts)
	root, err := os.MkdirTemp("", "fettle-script-")
	ts.Check(err)
	w.stop = append(w.stop, func() { os.RemoveAll(root) })
	repo, err := gittest.Init(filepath.Join(root, name+".git"))
	ts.Check(err)
	w.repos[name] = repo
	commit(ts, repo, dir, "Initial commit")
	public, private, err := ed25519.GenerateKey(rand.Reader)
	ts.Check(err)
	key, err := ssh.NewPublicKey(public)
	ts.Check(err)
	block, err := ssh.MarshalPrivateKey(private, "")
	ts.Check(err)
	ts.Check(os.WriteFile(ts.MkAbs("id_"+name), pem.EncodeToMemory(block), 0o600))
	server := &gittest.Server{Root: root, Users: map[string]string{"git-user": "git-password"}, Keys: []ssh.PublicKey{key}}
	sh, err := server.ListenSSH()
	ts.Check(err)
	w.stop = append(w.stop, func() { sh.Close() })
	ts.Check(os.WriteFile(ts.MkAbs("known_hosts_"+name), []byte(sh.KnownHosts()), 0o600))
	ts.Setenv(name+"_SSH", sh.URL(name+".git"))
	h, err := server.ListenHTTP()
	ts.Check(err)
	w.stop = append(w.stop, func() { h.Close() })
	ts.Setenv(name+"_HTTP", h.URL+"/"+name+".git")
	ts.Setenv(name+"_DIR", repo.Dir())
}

func cmdPush(ts *testscript.TestScript, neg bool, args []string) {
	commit(ts, of(ts).repos[args[0]], ts.MkAbs(args[1]), args[2])
}

func cmdRemove(ts *testscript.TestScript, neg bool, args []string) {
	_, err := of(ts).repos[args[0]].CommitWith(gittest.Change{Delete: args[1:], Message: "Remove " + args[1]})
	ts.Check(err)
}

func cmdBranch(ts *testscript.TestScript, neg bool, args []string) {
	repo := of(ts).repos[args[0]]
	switch args[1] {
	case "delete":
		ts.Check(repo.DeleteBranch(gittest.DefaultBranch))
	case "forcepush":
		_, err := repo.CommitWith(gittest.Change{Files: read(ts, ts.MkAbs(args[2])), Replace: true, Message: "Rewritten history"})
		ts.Check(err)
	default:
		ts.Fatalf("branch: delete or forcepush")
	}
}

func commit(ts *testscript.TestScript, repo *gittest.Repo, dir, message string) {
	_, err := repo.CommitWith(gittest.Change{Files: read(ts, dir), Message: message, Author: "Robin <robin@example.com>"})
	ts.Check(err)
}

func read(ts *testscript.TestScript, dir string) map[string]string {
	files := map[string]string{}
	ts.Check(filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := os.ReadFile(p)
		rel, _ := filepath.Rel(dir, p)
		files[filepath.ToSlash(rel)] = string(data)
		return err
	}))
	return files
}

func cmdEnvFile(ts *testscript.TestScript, neg bool, args []string) {
	text := os.Expand(ts.ReadFile(args[0]), ts.Getenv)
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(text), 0o600))
}

func cmdSaid(ts *testscript.TestScript, neg bool, args []string) {
	hide := strings.NewReplacer(ts.Getenv("CF_API"), "$CF_API", ts.Getenv("WORK"), "$WORK")
	for _, line := range strings.SplitAfter(ts.ReadFile("stderr"), "\n") {
		if !strings.HasPrefix(line, "  app ") {
			_, _ = hide.WriteString(ts.Stdout(), line)
		}
	}
}

// cmdUntil gives up after a minute.
func cmdUntil(ts *testscript.TestScript, neg bool, args []string) {
	want, err := regexp.Compile("(?m)" + args[0])
	ts.Check(err)
	deadline := time.Now().Add(60 * time.Second)
	for {
		err := ts.Exec(args[2], args[3:]...)
		out := ts.ReadFile("stdout")
		var exit interface{ ExitCode() int }
		if err != nil && !errors.As(err, &exit) {
			ts.Check(err)
		}
		if want.MatchString(out) != neg {
			return
		}
		if time.Now().After(deadline) {
			ts.Fatalf("waited in vain for %q in\n%s", args[0], out)
		}
		time.Sleep(100 * time.Millisecond)
	}
}
