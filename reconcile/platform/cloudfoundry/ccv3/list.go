package ccv3

import (
	"context"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sync/errgroup"
)

const (
	perPage     = 5000 // the controller's maximum
	guidsAtOnce = 200  // in one URL: 200 guids are 7.4 kB, and routers refuse request lines over 8 kB
)

// page is one page of a list.
type page[T any] struct {
	Pagination struct {
		TotalResults int `json:"total_results"`
		TotalPages   int `json:"total_pages"`
		Next         *struct {
			Href string `json:"href"`
		} `json:"next"`
	} `json:"pagination"`
	Resources []T      `json:"resources"`
	Included  Included `json:"included"`
}

// Included is what a list carries besides its own resources, as asked for with `include`.
type Included struct {
	Apps             []App             `json:"apps"`
	Spaces           []Space           `json:"spaces"`
	Organizations    []Org             `json:"organizations"`
	Domains          []Domain          `json:"domains"`
	ServiceInstances []ServiceInstance `json:"service_instances"`
	ServicePlans     []ServicePlan     `json:"service_plans"`
	ServiceOfferings []ServiceOffering `json:"service_offerings"`
}

func (in *Included) add(more Included) {
	in.Apps = append(in.Apps, more.Apps...)
	in.Spaces = append(in.Spaces, more.Spaces...)
	in.Organizations = append(in.Organizations, more.Organizations...)
	in.Domains = append(in.Domains, more.Domains...)
	in.ServiceInstances = append(in.ServiceInstances, more.ServiceInstances...)
	in.ServicePlans = append(in.ServicePlans, more.ServicePlans...)
	in.ServiceOfferings = append(in.ServiceOfferings, more.ServiceOfferings...)
}

// once drops what several pages carry.
func (in *Included) once() {
	in.Apps, in.Spaces, in.Organizations, in.Domains = distinct(in.Apps), distinct(in.Spaces), distinct(in.Organizations), distinct(in.Domains)
	in.ServiceInstances, in.ServicePlans, in.ServiceOfferings = distinct(in.ServiceInstances), distinct(in.ServicePlans), distinct(in.ServiceOfferings)
}

// List reads a whole list: the first page, then all others at once. The order is kept. A resource that moves
// from page to page while we read, because others come and go, appears once; if the pages disagree
// about the length of the list, it is read again once, for one may have slipped through.
func List[T any](ctx context.Context, c *Client, path string, query url.Values) ([]T, Included, error) {
	all, in, steady, err := listOnce[T](ctx, c, path, query)
	if err == nil && !steady {
		all, in, _, err = listOnce[T](ctx, c, path, query)
	}
	if err != nil {
		return nil, Included{}, err
	}
	in.once()
	return distinct(all), in, nil
}

func listOnce[T any](ctx context.Context, c *Client, path string, query url.Values) (_ []T, _ Included, steady bool, _ error) {
	query = maps.Clone(query)
	if query == nil {
		query = url.Values{}
	}
	if !query.Has("per_page") {
		query.Set("per_page", strconv.Itoa(perPage))
	}
	var first page[T]
	if _, err := c.Do(ctx, http.MethodGet, path+"?"+query.Encode(), nil, &first); err != nil {
		return nil, Included{}, false, err
	}
	if first.Pagination.TotalPages <= 1 || first.Pagination.Next == nil {
		return first.Resources, first.Included, true, nil
	}
	// The server decides how long its pages are; the link says so.
	if next, err := url.Parse(first.Pagination.Next.Href); err == nil && next.Query().Has("per_page") {
		query.Set("per_page", next.Query().Get("per_page"))
	}
	pages := make([]page[T], first.Pagination.TotalPages)
	pages[0] = first
	group, groupCtx := errgroup.WithContext(ctx)
	group.SetLimit(c.cfg.Concurrency)
	for n := 2; n <= len(pages); n++ {
		q := maps.Clone(query)
		q.Set("page", strconv.Itoa(n))
		group.Go(func() error {
			_, err := c.Do(groupCtx, http.MethodGet, path+"?"+q.Encode(), nil, &pages[n-1])
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return nil, Included{}, false, err
	}
	var all []T
	var in Included
	steady = true
	for _, p := range pages {
		all = append(all, p.Resources...)
		in.add(p.Included)
		steady = steady && p.Pagination.TotalResults == first.Pagination.TotalResults
	}
	return all, in, steady, nil
}

// ListBy reads a list filtered by many values of one parameter, in as many requests as URLs of a safe length
// need. Without values there is nothing to ask: an empty filter matches nothing.
func ListBy[T any](ctx context.Context, c *Client, path string, query url.Values, parameter string, values []string) ([]T, Included, error) {
	chunks := slices.Collect(slices.Chunk(values, guidsAtOnce))
	lists, ins := make([][]T, len(chunks)), make([]Included, len(chunks))
	group, groupCtx := errgroup.WithContext(ctx)
	group.SetLimit(c.cfg.Concurrency)
	for i, chunk := range chunks {
		q := maps.Clone(query)
		if q == nil {
			q = url.Values{}
		}
		q.Set(parameter, Filter(chunk...))
		group.Go(func() (err error) {
			lists[i], ins[i], err = List[T](groupCtx, c, path, q)
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return nil, Included{}, err
	}
	var in Included
	for _, more := range ins {
		in.add(more)
	}
	in.once()
	return distinct(slices.Concat(lists...)), in, nil
}

// Filter writes a filter with several values. The controller splits at commas and percent-decodes each
// value after that (reference, "Query Parameters"), so a comma or percent sign inside a value is encoded once more.
func Filter(values ...string) string {
	escaped := make([]string, len(values))
	for i, v := range values {
		escaped[i] = strings.NewReplacer("%", "%25", ",", "%2C").Replace(v)
	}
	return strings.Join(escaped, ",")
}

// distinct drops later copies of resources that have a guid.
func distinct[T any](all []T) []T {
	seen := make(map[string]bool, len(all))
	return slices.DeleteFunc(all, func(t T) bool {
		r, ok := any(t).(interface{ ID() string })
		if !ok || r.ID() == "" {
			return false
		}
		was := seen[r.ID()]
		seen[r.ID()] = true
		return was
	})
}
