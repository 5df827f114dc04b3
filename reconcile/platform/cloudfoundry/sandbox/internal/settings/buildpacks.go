package settings

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"regexp"
	"slices"
	"strings"

	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/cc"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/tree"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/world"
)

func registerBuildpacks(s *cc.Server) {
	s.Read("GET /v3/buildpacks", listBuildpacks)
	s.Write("POST /v3/buildpacks", createBuildpack)
	s.Read("GET /v3/buildpacks/{guid}", showBuildpack)
	s.Write("PATCH /v3/buildpacks/{guid}", updateBuildpack)
	s.Write("DELETE /v3/buildpacks/{guid}", deleteBuildpack)
	s.Write("POST /v3/buildpacks/{guid}/upload", uploadBuildpack)
	s.Write("POST /v3/admin/actions/clear_buildpack_cache", clearCache)
	s.Job("buildpack.delete", removeBuildpack)
	s.Job("admin.clear_buildpack_cache", func(*cc.Tx, *world.Job) error { return nil }) // nothing is compiled, so nothing is cached
	s.Job("buildpack.upload", storeBuildpack)
}

// seedBuildpacks makes the buildpacks that foundations commonly come with, in their usual order.
func seedBuildpacks(tx *cc.Tx, stack string) {
	for i, name := range []string{"staticfile", "java", "ruby", "dotnet_core", "nodejs", "go", "python", "php", "nginx", "r", "binary"} {
		tx.W.Buildpacks.Insert(&world.AdminBuildpack{
			Base: tx.W.Base(), Name: name + "_buildpack", Stack: stack, Lifecycle: world.Buildpack,
			Filename: name + "_buildpack-cached-" + stack + ".zip", Key: name, Position: i + 1,
		})
	}
}

var buildpackList = &cc.List[*world.AdminBuildpack]{
	Filters: []cc.Filter[*world.AdminBuildpack]{
		cc.In("stacks", func(_ *cc.Req, b *world.AdminBuildpack) string { return b.Stack }),
		cc.Fold("names", func(_ *cc.Req, b *world.AdminBuildpack) string { return b.Name }),
		{Name: "lifecycle", Make: func(_ *cc.Req, values []string) (func(*world.AdminBuildpack) bool, string) {
			v := strings.Join(values, ",")
			if v != world.Buildpack && v != world.CNB {
				return nil, `Lifecycle must be either "buildpack" or "cnb"`
			}
			return func(b *world.AdminBuildpack) bool { return b.Lifecycle == v }, ""
		}},
		cc.Param[*world.AdminBuildpack]("page"), cc.Param[*world.AdminBuildpack]("per_page"), // the controller names them twice
		cc.Labels[*world.AdminBuildpack](),
	},
	Orders: []cc.Order[*world.AdminBuildpack]{
		{Name: "position", Compare: func(a, b *world.AdminBuildpack) int { return cmp.Compare(a.Position, b.Position) }},
		{Name: "lifecycle", Compare: func(a, b *world.AdminBuildpack) int { return strings.Compare(a.Lifecycle, b.Lifecycle) }},
	},
	Show: func(q *cc.Req, b *world.AdminBuildpack) any { return presentBuildpack(q, b) },
}

// listBuildpacks is ordered by lifecycle and position where nothing else is asked for.
func listBuildpacks(q *cc.Req) (*cc.Reply, error) {
	all := slices.SortedStableFunc(q.W.Buildpacks.All(), func(a, b *world.AdminBuildpack) int {
		return cmp.Or(strings.Compare(a.Lifecycle, b.Lifecycle), cmp.Compare(a.Position, b.Position))
	})
	return buildpackList.Answer(q, slices.Values(all), nil)
}

func presentBuildpack(q *cc.Req, b *world.AdminBuildpack) tree.Obj {
	state := "AWAITING_UPLOAD"
	if b.Filename != "" {
		state = "READY"
	}
	self := "/v3/buildpacks/" + b.GUID
	return cc.Head(&b.Base, "name", b.Name, "stack", cc.OrNil(b.Stack), "state", state, "lifecycle", b.Lifecycle, "filename", cc.OrNil(b.Filename),
		"position", b.Position, "enabled", !b.Disabled, "locked", b.Locked, "metadata", cc.Meta(&b.Base),
		"links", tree.O("self", q.Link(self), "upload", q.Action(self+"/upload", "POST")))
}

func buildpackTarget(b *world.AdminBuildpack) world.Target {
	return world.Target{GUID: b.GUID, Type: "buildpack", Name: b.Name}
}

func findBuildpack(q *cc.Req) (*world.AdminBuildpack, error) {
	b, ok := q.W.Buildpacks.Get(q.Var("guid"))
	if !ok {
		return nil, cc.NotFound("Buildpack")
	}
	return b, nil
}

func showBuildpack(q *cc.Req) (*cc.Reply, error) {
	b, err := findBuildpack(q)
	if err != nil {
		return nil, err
	}
	return cc.OK(presentBuildpack(q, b)), nil
}

var buildpackName = regexp.MustCompile(`\A[-\w]+\z`)

// readBuildpack reads the body into p and returns the position that it asks for, 0 when it asks for none. On creation
// null means the default; on an update it is refused where it makes no sense.
func readBuildpack(b *cc.Body, p *world.AdminBuildpack, create bool) (position int) {
	v, ok := b.Lookup("name")
	if create || ok && v != nil {
		name, isText := v.(string)
		if !isText {
			b.Add("Name must be a string")
		}
		if create && cc.IsEmpty(v) {
			b.Add("Name can't be blank")
		}
		if v == nil {
			b.Add("Name is too long (maximum is 250 characters)") // sic: the controller says so when there is none
		}
		b.Length("Name", name, 0, 250)
		if !buildpackName.MatchString(name) {
			b.Add("Name is invalid")
		}
		p.Name = name
	}
	if v, ok := b.Lookup("stack"); ok {
		stack, isText := v.(string)
		if v != nil && !isText {
			b.Add("Stack must be a string")
		}
		b.Length("Stack", stack, 0, 250)
		p.Stack = stack
	}
	if v, ok := b.Lookup("position"); ok && (v != nil || !create) {
		n, problem := cc.Whole(v, 1, cc.MaxInt)
		if problem != "" {
			b.Add("Position %s", problem)
		}
		position = n
	}
	for _, f := range []string{"enabled", "locked"} {
		v, ok := b.Lookup(f)
		if !ok || v == nil && create {
			continue
		}
		on, isBool := v.(bool)
		if !isBool {
			b.Add("%s must be a boolean", cc.Human(f))
		}
		if f == "enabled" {
			p.Disabled = !on
		} else {
			p.Locked = on
		}
	}
	return position
}

// checkBuildpack looks at what else there is; self is the buildpack as it is stored, nil for a new one.
func checkBuildpack(tx *cc.Tx, p, self *world.AdminBuildpack) error {
	if p.Stack != "" && (self == nil || self.Stack != p.Stack) {
		known := false
		for s := range tx.W.Stacks.All() {
			known = known || s.Name == p.Stack
		}
		if !known {
			return cc.Unprocessable("Stack '%s' does not exist", p.Stack)
		}
	}
	if self != nil && self.Stack != "" && self.Stack != p.Stack {
		return cc.Unprocessable("Buildpack stack cannot be changed")
	}
	for other := range tx.W.Buildpacks.All() {
		if other == self || other.Name != p.Name || other.Stack != p.Stack || other.Lifecycle != p.Lifecycle {
			continue
		}
		if p.Stack == "" {
			return cc.Unprocessable("Buildpack with name '%s' and an unassigned stack already exists", p.Name)
		}
		return cc.Unprocessable("Buildpack with name '%s', stack '%s' and lifecycle '%s' already exists", p.Name, p.Stack, p.Lifecycle)
	}
	return nil
}

// move gives a buildpack a place among those of its lifecycle; the others make room, and no place stays empty.
func move(tx *cc.Tx, p *world.AdminBuildpack, position int) {
	var others []*world.AdminBuildpack
	for b := range tx.W.Buildpacks.All() {
		if b != p && b.Lifecycle == p.Lifecycle {
			others = append(others, b)
		}
	}
	slices.SortFunc(others, func(a, b *world.AdminBuildpack) int { return cmp.Compare(a.Position, b.Position) })
	for i, b := range slices.Insert(others, min(max(position, 1), len(others)+1)-1, p) {
		b.Position = i + 1
	}
}

func createBuildpack(q *cc.Req) (*cc.Reply, error) {
	if err := q.MayAdmin(); err != nil {
		return nil, err
	}
	b, err := q.Body("name", "stack", "position", "enabled", "locked", "lifecycle", "metadata")
	if err != nil {
		return nil, err
	}
	p := &world.AdminBuildpack{Base: q.W.Base(), Lifecycle: world.Buildpack}
	m := b.Metadata()
	position := readBuildpack(b, p, true)
	if v := b.Get("lifecycle"); v != nil {
		s, isText := v.(string)
		if !isText {
			b.Add("Lifecycle must be a string")
		}
		if s != world.Buildpack && s != world.CNB {
			b.Add(`Lifecycle must be either "buildpack" or "cnb"`)
		}
		p.Lifecycle = s
	}
	if err := b.Err(); err != nil {
		return nil, err
	}
	if err := checkBuildpack(&q.Tx, p, nil); err != nil {
		return nil, err
	}
	if err := m.Check(&p.Base); err != nil {
		return nil, err
	}
	m.Apply(&p.Base)
	move(&q.Tx, p, max(position, 1))
	q.W.Buildpacks.Insert(p)
	q.Audit("audit.buildpack.create", buildpackTarget(p), "", "", tree.O("request", b.Obj))
	return cc.Created(presentBuildpack(q, p)), nil
}

func updateBuildpack(q *cc.Req) (*cc.Reply, error) {
	p, err := findBuildpack(q)
	if err != nil {
		return nil, err
	}
	if err := q.MayAdmin(); err != nil {
		return nil, err
	}
	b, err := q.Body("name", "stack", "position", "enabled", "locked", "metadata")
	if err != nil {
		return nil, err
	}
	changed := *p
	m := b.Metadata()
	position := readBuildpack(b, &changed, false)
	if err := b.Err(); err != nil {
		return nil, err
	}
	if err := checkBuildpack(&q.Tx, &changed, p); err != nil {
		return nil, err
	}
	if err := m.Check(&changed.Base); err != nil {
		return nil, err
	}
	m.Apply(&changed.Base)
	*p = changed
	if position > 0 {
		move(&q.Tx, p, position)
	}
	q.Touch(&p.Base)
	q.Audit("audit.buildpack.update", buildpackTarget(p), "", "", tree.O("request", b.Obj))
	return cc.OK(presentBuildpack(q, p)), nil
}

func deleteBuildpack(q *cc.Req) (*cc.Reply, error) {
	p, err := findBuildpack(q)
	if err != nil {
		return nil, err
	}
	if err := q.MayAdmin(); err != nil {
		return nil, err
	}
	return cc.AcceptedJob(q.StartJob(cc.JobSpec{Operation: "buildpack.delete", Args: map[string]string{"guid": p.GUID}})), nil
}

func removeBuildpack(tx *cc.Tx, j *world.Job) error {
	p, ok := tx.W.Buildpacks.Get(j.Args["guid"])
	if !ok {
		return nil
	}
	tx.Audit("audit.buildpack.delete", buildpackTarget(p), "", "", nil)
	tx.W.Buildpacks.Delete(p.GUID)
	for b := range tx.W.Buildpacks.All() {
		if b.Lifecycle == p.Lifecycle && b.Position > p.Position {
			b.Position--
		}
	}
	return nil
}

func clearCache(q *cc.Req) (*cc.Reply, error) {
	if err := q.MayAdmin(); err != nil {
		return nil, err
	}
	return cc.AcceptedJob(q.StartJob(cc.JobSpec{Operation: "admin.clear_buildpack_cache"})), nil
}

var (
	zipMagic  = []byte("PK\x03\x04")
	gzipMagic = []byte{0x1f, 0x8b, 0x08}
	tarMagic  = []byte("ustar\x0000")
)

// uploadBuildpack takes the bits. They are looked at and not kept: nothing is ever staged with them.
func uploadBuildpack(q *cc.Req) (*cc.Reply, error) {
	p, err := findBuildpack(q)
	if err != nil {
		return nil, err
	}
	if err := q.MayAdmin(); err != nil {
		return nil, err
	}
	bits, err := q.Part("bits")
	if err != nil {
		return nil, err
	}
	name := ""
	if f := q.HTTP.MultipartForm; f != nil && len(f.File["bits"]) > 0 {
		name = f.File["bits"][0].Filename
	}
	var problems []string
	switch {
	case name == "":
		problems = append(problems, "A buildpack zip file must be uploaded as 'bits'")
	case p.Lifecycle == world.Buildpack && !bytes.HasPrefix(bits, zipMagic):
		problems = append(problems, name+` is not a zip file. Buildpacks of lifecycle "buildpack" must be valid zip files.`)
	case p.Lifecycle == world.CNB && !bytes.HasPrefix(bits, gzipMagic) && !(len(bits) > 265 && bytes.Equal(bits[257:265], tarMagic)):
		problems = append(problems, name+` is not a gzip archive or cnb file. Buildpacks of lifecycle "cnb" must be valid gzip archives or cnb files.`)
	}
	if name != "" && len(bits) == 0 {
		problems = append(problems, name+" cannot be empty")
	}
	if problems != nil {
		return nil, cc.Unprocessable("Uploaded buildpack file is invalid: %s", strings.Join(problems, ", "))
	}
	if p.Locked {
		return nil, cc.Unprocessable("Buildpack is locked")
	}
	sum := sha256.Sum256(bits)
	j := q.StartJob(cc.JobSpec{
		Operation: "buildpack.upload", Link: "buildpack", LinkPath: "/v3/buildpacks/" + p.GUID, Takes: q.S.Upload,
		Args: map[string]string{"guid": p.GUID, "filename": name, "key": hex.EncodeToString(sum[:])},
	})
	return &cc.Reply{Status: http.StatusAccepted, Location: "/v3/jobs/" + j.GUID, Body: presentBuildpack(q, p)}, nil
}

func storeBuildpack(tx *cc.Tx, j *world.Job) error {
	p, ok := tx.W.Buildpacks.Get(j.Args["guid"])
	if !ok {
		return cc.NotFound("Buildpack")
	}
	if p.Locked || p.Key == j.Args["key"] && p.Filename == j.Args["filename"] {
		return nil
	}
	p.Key, p.Filename = j.Args["key"], j.Args["filename"]
	tx.Touch(&p.Base)
	tx.Audit("audit.buildpack.upload", buildpackTarget(p), "", "", tree.O("request", tree.O("bits_name", p.Filename, "bits_path", "/tmp/uploads/"+p.Filename)))
	return nil
}
