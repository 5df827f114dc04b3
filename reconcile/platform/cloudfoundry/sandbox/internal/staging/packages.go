package staging

import (
	"archive/zip"
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"path"
	"slices"
	"strings"

	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/apps"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/cc"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/runtime"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/tree"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/world"
)

func registerPackages(s *cc.Server) {
	s.Read("GET /v3/packages", listPackages)
	s.Write("POST /v3/packages", createPackage)
	s.Read("GET /v3/packages/{guid}", showPackage)
	s.Write("PATCH /v3/packages/{guid}", updatePackage)
	s.Write("DELETE /v3/packages/{guid}", deletePackage)
	s.Write("POST /v3/packages/{guid}/upload", uploadPackage)
	s.Write("GET /v3/packages/{guid}/download", downloadPackage)
	s.Read("GET /v3/packages/{guid}/droplets", packageDroplets)
	s.Read("GET /v3/apps/{guid}/packages", appPackages)
	s.Read("POST /v3/resource_matches", matchResources)
	s.When("package.ready", packageReady)
	s.Job("package.delete", func(tx *cc.Tx, j *world.Job) error {
		tx.W.Packages.Delete(j.Args["guid"])
		return nil
	})
}

var packages = &cc.List[*world.Package]{
	Filters: []cc.Filter[*world.Package]{
		cc.In("states", func(_ *cc.Req, p *world.Package) string { return p.State }),
		cc.In("types", func(_ *cc.Req, p *world.Package) string { return p.Type }),
		cc.In("app_guids", func(_ *cc.Req, p *world.Package) string { return p.App }),
		cc.In("app_guid", func(_ *cc.Req, p *world.Package) string { return p.App }),
		cc.In("space_guids", func(q *cc.Req, p *world.Package) string { return spaceOf(q, p.App) }),
		cc.In("organization_guids", func(q *cc.Req, p *world.Package) string { return orgOf(q, p.App) }),
		cc.Labels[*world.Package](),
	},
	Show: func(q *cc.Req, p *world.Package) any { return presentPackage(q, p) },
}

func listPackages(q *cc.Req) (*cc.Reply, error) {
	sees := q.Sees()
	return packages.Answer(q, q.W.Packages.All(), func(p *world.Package) bool { return sees.Space(spaceOf(q, p.App)) })
}

func appPackages(q *cc.Req) (*cc.Reply, error) {
	a, err := apps.Find(q)
	if err != nil {
		return nil, err
	}
	return packages.Answer(q, slices.Values(q.W.Packages.By("app", a.GUID)), nil)
}

func presentPackage(q *cc.Req, p *world.Package) tree.Obj {
	self := "/v3/packages/" + p.GUID
	links := tree.O("self", q.Link(self))
	var data tree.Obj
	if p.Type == "docker" {
		var password any
		if p.Password != "" {
			password = "***"
		}
		data = tree.O("image", p.Image, "username", cc.OrNil(p.Username), "password", password)
	} else {
		data = tree.O("error", cc.OrNil(p.Error), "checksum", tree.O("type", "sha256", "value", cc.OrNil(p.Checksum)))
		links.Set("upload", q.Action(self+"/upload", "POST"))
		links.Set("download", q.Link(self+"/download"))
	}
	links.Set("app", q.Link("/v3/apps/"+p.App))
	return cc.Head(&p.Base, "type", p.Type, "data", data, "state", p.State, "relationships", tree.O("app", cc.One(p.App)),
		"metadata", cc.Meta(&p.Base), "links", links)
}

func findPackage(q *cc.Req) (*world.Package, *world.App, error) {
	if p, ok := q.W.Packages.Get(q.Var("guid")); ok {
		if a := appOf(q, p.App); a != nil {
			return p, a, nil
		}
	}
	return nil, nil, cc.NotFound("Package")
}

func showPackage(q *cc.Req) (*cc.Reply, error) {
	p, _, err := findPackage(q)
	if err != nil {
		return nil, err
	}
	return cc.OK(presentPackage(q, p)), nil
}

func updatePackage(q *cc.Req) (*cc.Reply, error) {
	b, err := q.Body("username", "password", "metadata")
	if err != nil {
		return nil, err
	}
	m := b.Metadata()
	if err := b.Err(); err != nil {
		return nil, err
	}
	p, a, err := findPackage(q)
	if err != nil {
		return nil, err
	}
	given := func(v any) bool { return v != nil && v != false }
	if p.Type != "docker" && (given(b.Get("username")) || given(b.Get("password"))) {
		return nil, cc.Unprocessable("Cannot update Docker credentials for a buildpack app.")
	}
	if err := q.MayWriteSpace(a.Space); err != nil {
		return nil, err
	}
	if err := m.Check(&p.Base); err != nil {
		return nil, err
	}
	for _, f := range []struct {
		key string
		to  *string
	}{{"username", &p.Username}, {"password", &p.Password}} {
		switch v := b.Get(f.key).(type) {
		case nil, bool:
		case string:
			*f.to = v
		default:
			*f.to = cc.Inspect(v)
		}
	}
	m.Apply(&p.Base)
	q.Touch(&p.Base)
	return cc.OK(presentPackage(q, p)), nil
}

func deletePackage(q *cc.Req) (*cc.Reply, error) {
	p, a, err := findPackage(q)
	if err != nil {
		return nil, err
	}
	if err := q.MayWriteSpace(a.Space); err != nil {
		return nil, err
	}
	runtime.Audit(&q.Tx, a, "audit.app.package.delete", tree.O("package_guid", p.GUID))
	return cc.AcceptedJob(q.StartJob(cc.JobSpec{Operation: "package.delete", Args: map[string]string{"guid": p.GUID}})), nil
}

func createPackage(q *cc.Req) (*cc.Reply, error) {
	if source := q.Query.Get("source_guid"); source != "" {
		return copyPackage(q, source)
	}
	b, err := q.Body("type", "relationships", "data", "metadata")
	if err != nil {
		return nil, err
	}
	rel := b.Relationships([]string{"app"})
	p := &world.Package{Base: q.W.Base(), State: world.AwaitingUpload}
	p.Type, _ = b.Str("type")
	data, _ := b.Get("data").(tree.Obj)
	switch p.Type {
	case "bits":
		if len(data) > 0 {
			b.Add("Data Data must be empty if provided for bits packages")
		}
	case "docker":
		readImage(b, data, p)
	default:
		b.Add("Type must be one of 'bits, docker'")
	}
	m := b.Metadata()
	if err := b.Err(); err != nil {
		return nil, err
	}
	a := appOf(q, cc.RelGUID(rel, "app"))
	if a == nil {
		return nil, cc.Unprocessable("App is invalid. Ensure it exists and you have access to it.")
	}
	if err := q.MayWriteSpace(a.Space); err != nil {
		return nil, err
	}
	switch {
	case p.Type == "docker" && a.Lifecycle == world.Buildpack:
		return nil, cc.Unprocessable("Cannot create Docker package for a buildpack app.")
	case p.Type == "bits" && a.Lifecycle == world.Docker:
		return nil, cc.Unprocessable("Cannot create bits package for a Docker app.")
	}
	if err := m.Check(&p.Base); err != nil {
		return nil, err
	}
	p.App = a.GUID
	m.Apply(&p.Base)
	q.W.Packages.Insert(p)
	request := b.Clone()
	if p.Type == "docker" {
		d := data.Clone()
		d.Set("password", "***") // observed fact: even when none was given
		request.Set("data", d)
	}
	runtime.Audit(&q.Tx, a, "audit.app.package.create", tree.O("package_guid", p.GUID, "request", request))
	return cc.Created(presentPackage(q, p)), nil
}

func readImage(b *cc.Body, data tree.Obj, p *world.Package) {
	p.State = world.Ready
	if u := cc.UnknownFields(data, "image", "username", "password"); u != "" {
		b.Add("Data %s", u)
	}
	image, ok := data.Get("image").(string)
	if !ok {
		b.Add("Data Image must be a string")
	}
	if image == "" {
		b.Add("Data Image required")
	}
	for _, f := range []struct {
		key string
		to  *string
	}{{"username", &p.Username}, {"password", &p.Password}} {
		v := data.Get(f.key)
		s, isText := v.(string)
		if v != nil && !isText {
			b.Add("Data %s must be a string", cc.Human(f.key))
		}
		*f.to = s
	}
	p.Image = image
}

func copyPackage(q *cc.Req, source string) (*cc.Reply, error) {
	o, err := q.JSON()
	if err != nil {
		return nil, err
	}
	guid, _ := o.Path("relationships", "app", "data", "guid").(string) // nothing else of the body is looked at
	a := appOf(q, guid)
	if a == nil {
		return nil, cc.Unprocessable("App is invalid. Ensure it exists and you have access to it.")
	}
	if err := q.MayWriteSpace(a.Space); err != nil {
		return nil, err
	}
	src, ok := q.W.Packages.Get(source)
	var from *world.App
	if ok {
		from = appOf(q, src.App)
	}
	if from == nil {
		return nil, cc.Unprocessable("Source package is invalid. Ensure it exists and you have access to it.")
	}
	if err := q.MayWriteSpace(from.Space); err != nil {
		return nil, err
	}
	if src.App == a.GUID {
		return nil, cc.Unprocessable("Source and destination app cannot be the same")
	}
	p := &world.Package{
		Base: q.W.Base(), App: a.GUID, Type: src.Type, State: world.Copying, Source: src.GUID, Bits: src.Bits,
		Image: src.Image, Procfile: src.Procfile, Faults: src.Faults,
	}
	if p.Type == "docker" {
		p.State = world.Ready
	} else {
		q.After(q.S.Upload, "package.ready", p.GUID)
	}
	q.W.Packages.Insert(p)
	runtime.Audit(&q.Tx, a, "audit.app.package.create", tree.O("package_guid", p.GUID, "request", tree.O("source_package_guid", src.GUID)))
	return cc.Created(presentPackage(q, p)), nil
}

func uploadPackage(q *cc.Req) (*cc.Reply, error) {
	if err := q.Feature("app_bits_upload"); err != nil {
		return nil, err
	}
	bits, err := q.Part("bits")
	if err != nil {
		return nil, err
	}
	resources, given := q.Field("resources")
	var matched []any
	if given {
		v, err := tree.Parse([]byte(resources))
		if err != nil {
			return nil, cc.Unprocessable("Resources must be valid JSON.")
		}
		matched, _ = v.([]any)
	}
	if bits == nil && len(matched) == 0 {
		return nil, cc.Unprocessable("Upload must include either resources or bits")
	}
	p, a, err := findPackage(q)
	if err != nil {
		return nil, err
	}
	if err := q.MayWriteSpace(a.Space); err != nil {
		return nil, err
	}
	if p.Type != "bits" {
		return nil, cc.Unprocessable("Package type must be bits.")
	}
	if p.State != world.AwaitingUpload {
		return nil, cc.NewError(400, 150004, "PackageBitsAlreadyUploaded", "Bits may be uploaded only once. Create a new package to upload different bits.")
	}
	p.Bits, p.Matched = bits, namedResources(matched)
	p.Procfile, p.Faults = inspect(bits)
	p.State = world.ProcessingUpload
	q.Touch(&p.Base)
	q.After(q.S.Upload, "package.ready", p.GUID)
	runtime.Audit(&q.Tx, a, "audit.app.package.upload", tree.O("package_guid", p.GUID))
	return cc.OK(presentPackage(q, p)), nil
}

func packageReady(tx *cc.Tx, guid string) {
	p, ok := tx.W.Packages.Get(guid)
	if !ok {
		return
	}
	tx.Touch(&p.Base)
	if len(p.Matched) > 0 {
		bits, err := assemble(tx, p)
		if err != nil {
			p.State, p.Error = world.Failed, err.Error()
			return
		}
		p.Bits, p.Matched = bits, nil
		p.Procfile, p.Faults = inspect(bits)
	}
	p.Pooled = pool(tx, p.Bits)
	sum := sha256.Sum256(p.Bits)
	p.Checksum, p.State = hex.EncodeToString(sum[:]), world.Ready
}

// inspect looks into zipped bits for a Procfile and for files that ask for a fault. Anything that is no zip has neither.
func inspect(bits []byte) (procfile [][2]string, faults []string) {
	z, err := zip.NewReader(bytes.NewReader(bits), int64(len(bits)))
	if err != nil {
		return nil, nil
	}
	for _, f := range z.File {
		if name := path.Base(f.Name); slices.Contains(runtime.FaultMarkers, name) {
			faults = append(faults, name)
		}
		if f.Name != "Procfile" {
			continue
		}
		r, err := f.Open()
		if err != nil {
			continue
		}
		lines := bufio.NewScanner(io.LimitReader(r, 1<<16))
		for lines.Scan() {
			typ, command, ok := strings.Cut(lines.Text(), ":")
			typ, command = strings.TrimSpace(typ), strings.TrimSpace(command)
			if ok && typ != "" && command != "" && !strings.HasPrefix(typ, "#") {
				procfile = append(procfile, [2]string{typ, command})
			}
		}
		_ = r.Close()
	}
	return procfile, faults
}

func downloadPackage(q *cc.Req) (*cc.Reply, error) {
	p, a, err := findPackage(q)
	if err != nil {
		return nil, err
	}
	if err := q.MayWriteSpace(a.Space); err != nil {
		return nil, err
	}
	if p.Type != "bits" {
		return nil, cc.Unprocessable("Package type must be bits.")
	}
	if p.State != world.Ready {
		return nil, cc.Unprocessable("Package has no bits to download.")
	}
	runtime.Audit(&q.Tx, a, "audit.app.package.download", tree.O("package_guid", p.GUID))
	return &cc.Reply{Status: 200, Body: p.Bits, Type: "application/zip"}, nil
}
