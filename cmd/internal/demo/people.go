package demo

import (
	"context"
	"fmt"
	"io/fs"
	"net/url"
	"strings"
	"time"

	"github.com/fettle-gitops/fettle/reconcile/platform"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/ccv3"
)

// person works on the foundation by hand, as people do with cf: through the V3 API, as themselves.
type person struct {
	api *ccv3.Client
}

func login(api, user, password string) (*person, error) {
	c, err := ccv3.New(ccv3.Config{API: api, Username: user, Password: password, UserAgent: "demo/" + user, Timeout: 20 * time.Second})
	return &person{api: c}, err
}

type named struct {
	GUID string `json:"guid"`
	Name string `json:"name"`
}

func (p *person) makeSpace(ctx context.Context, org, space string, developers ...string) error {
	var o, sp named
	if _, err := p.api.Do(ctx, "POST", "/v3/organizations", map[string]any{"name": org}, &o); err != nil {
		return err
	}
	in := map[string]any{"name": space, "relationships": map[string]any{"organization": to(o.GUID)}}
	if _, err := p.api.Do(ctx, "POST", "/v3/spaces", in, &sp); err != nil {
		return err
	}
	for _, user := range developers {
		who := map[string]any{"data": map[string]any{"username": user, "origin": "uaa"}}
		role := map[string]any{"type": "organization_user", "relationships": map[string]any{"user": who, "organization": to(o.GUID)}}
		if _, err := p.api.Do(ctx, "POST", "/v3/roles", role, nil); err != nil {
			return err
		}
		role = map[string]any{"type": "space_developer", "relationships": map[string]any{"user": who, "space": to(sp.GUID)}}
		if _, err := p.api.Do(ctx, "POST", "/v3/roles", role, nil); err != nil {
			return err
		}
	}
	return nil
}

func to(guid string) map[string]any { return map[string]any{"data": map[string]any{"guid": guid}} }

func (p *person) app(ctx context.Context, name string) (string, error) {
	apps, _, err := ccv3.List[ccv3.App](ctx, p.api, "/v3/apps", url.Values{"names": {name}})
	if err != nil {
		return "", err
	}
	if len(apps) != 1 {
		return "", fmt.Errorf("%d apps have the name %s", len(apps), name)
	}
	return apps[0].GUID, nil
}

func (p *person) scaleMemory(ctx context.Context, app string, mb int) error {
	guid, err := p.app(ctx, app)
	if err != nil {
		return err
	}
	_, err = p.api.Do(ctx, "POST", "/v3/apps/"+guid+"/processes/web/actions/scale", map[string]any{"memory_in_mb": mb}, nil)
	return err
}

func (p *person) setEnv(ctx context.Context, app, name, value string) error {
	guid, err := p.app(ctx, app)
	if err != nil {
		return err
	}
	_, err = p.api.Do(ctx, "PATCH", "/v3/apps/"+guid+"/environment_variables", map[string]any{"var": map[string]any{name: value}}, nil)
	return err
}

func (p *person) unmap(ctx context.Context, app, path string) error {
	guid, err := p.app(ctx, app)
	if err != nil {
		return err
	}
	routes, _, err := ccv3.List[ccv3.Route](ctx, p.api, "/v3/apps/"+guid+"/routes", nil)
	if err != nil {
		return err
	}
	for _, r := range routes {
		if !strings.HasSuffix(r.URL, path) {
			continue
		}
		for _, d := range r.Destinations {
			if _, err := p.api.Do(ctx, "DELETE", "/v3/routes/"+r.GUID+"/destinations/"+d.GUID, nil, nil); err != nil {
				return err
			}
		}
		return nil
	}
	return fmt.Errorf("no route of %s ends in %s", app, path)
}

// running checks that every web instance of the app runs.
func (p *person) running(ctx context.Context, app string) error {
	guid, err := p.app(ctx, app)
	if err != nil {
		return err
	}
	var stats struct {
		Resources []struct {
			State string `json:"state"`
		} `json:"resources"`
	}
	if _, err := p.api.Do(ctx, "GET", "/v3/apps/"+guid+"/processes/web/stats", nil, &stats); err != nil {
		return err
	}
	for i, s := range stats.Resources {
		if s.State != "RUNNING" {
			return fmt.Errorf("instance %d of %s is %s", i, app, s.State)
		}
	}
	if len(stats.Resources) == 0 {
		return fmt.Errorf("%s has no instance", app)
	}
	return nil
}

func (p *person) memory(ctx context.Context, app string, want int) error {
	guid, err := p.app(ctx, app)
	if err != nil {
		return err
	}
	var process struct {
		Memory int `json:"memory_in_mb"`
	}
	if _, err := p.api.Do(ctx, "GET", "/v3/apps/"+guid+"/processes/web", nil, &process); err != nil {
		return err
	}
	if process.Memory != want {
		return fmt.Errorf("%s has %d MB of memory, not %d", app, process.Memory, want)
	}
	return nil
}

func (p *person) droplet(ctx context.Context, app string) (string, error) {
	guid, err := p.app(ctx, app)
	if err != nil {
		return "", err
	}
	var droplet named
	_, err = p.api.Do(ctx, "GET", "/v3/apps/"+guid+"/droplets/current", nil, &droplet)
	return droplet.GUID, err
}

func (p *person) count(ctx context.Context, path string) (int, error) {
	all, _, err := ccv3.List[ccv3.Resource](ctx, p.api, path, nil)
	return len(all), err
}

// title begins a scene.
func (s *story) title(text string) {
	if s.Color {
		text = "\x1b[1m" + text + "\x1b[0m"
	}
	s.print("\n%s\n", text)
}

// say tells one thing, with the time since the beginning.
func (s *story) say(format string, args ...any) {
	s.print("  [%5.1f s] %s\n", time.Since(s.start).Seconds(), fmt.Sprintf(format, args...))
}

// progress shows the agent's signs of life between the scenes' own lines.
func (s *story) progress(_ string, e platform.Event) {
	if e.Step == "" || e.Phase != platform.Progress || e.Text == "" {
		return
	}
	line := fmt.Sprintf("    %7.1f s  %s: %s", time.Since(s.start).Seconds(), e.Ref.Name(), e.Text)
	if s.Color {
		line = "\x1b[2m" + line + "\x1b[0m"
	}
	s.print("%s\n", line)
}

func (s *story) print(format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	fmt.Fprintf(s.Out, format, args...)
}

func walk(fsys fs.FS, root string, file func(path, content string)) error {
	return fs.WalkDir(fsys, root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		content, err := fs.ReadFile(fsys, path)
		if err == nil {
			file(strings.TrimPrefix(path, root+"/"), string(content))
		}
		return err
	})
}
