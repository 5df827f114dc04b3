package apps

import (
	"regexp"
	"slices"
	"strings"

	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/cc"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/tree"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/world"
)

// Lifecycle is what a request says about how an app is staged. Fields that were not given are nil.
type Lifecycle struct {
	Type       string
	Buildpacks *[]string
	Stack      *string // "" when null
}

// ReadLifecycle reads the field lifecycle of a body and notes what is wrong with its shape; nil when it is not there.
// The type may be left out: fallback is that of the app, or of new apps.
func ReadLifecycle(b *cc.Body, fallback string) *Lifecycle {
	v, ok := b.Lookup("lifecycle")
	if !ok {
		return nil
	}
	o, _ := v.(tree.Obj)
	l := &Lifecycle{}
	kind := fallback
	if typ := o.Get("type"); typ != nil && typ != "" && typ != false {
		l.Type, _ = typ.(string)
		kind = l.Type
	}
	data, isObj := o.Get("data").(tree.Obj)
	switch {
	case !slices.Contains([]string{world.Buildpack, world.Docker, world.CNB}, kind):
		b.Add("Lifecycle type is not included in the list: buildpack, docker, cnb")
	case !isObj:
	case kind == world.Docker:
		if u := cc.UnknownFields(data); u != "" {
			b.Add("Lifecycle %s", u)
		}
	default:
		l.readData(b, data)
	}
	if !isObj {
		b.Add("Lifecycle data must be an object")
	}
	return l
}

// ReadBuildLifecycle reads the field lifecycle of a build, which has to name its type.
func ReadBuildLifecycle(b *cc.Body) *Lifecycle {
	l := ReadLifecycle(b, world.Buildpack)
	if l == nil {
		return nil
	}
	o, _ := b.Get("lifecycle").(tree.Obj)
	if _, isText := o.Get("type").(string); !isText {
		at := len(b.Problems)
		if at > 0 && b.Problems[at-1] == "Lifecycle data must be an object" {
			at--
		}
		b.Problems = slices.Insert(b.Problems, at, "Lifecycle type must be a string")
	}
	return l
}

// readData reads what the lifecycles with buildpacks have. Problems are collected in the order of the controller.
func (l *Lifecycle) readData(b *cc.Body, data tree.Obj) {
	if u := cc.UnknownFields(data, "buildpacks", "stack", "credentials"); u != "" {
		b.Add("Lifecycle %s", u)
	}
	if v, ok := data.Lookup("stack"); ok {
		s, isText := v.(string)
		if v != nil && !isText {
			b.Add("Lifecycle Stack must be a string")
		}
		if isText && (s == "" || len([]rune(s)) > 4096) {
			b.Add("Lifecycle Stack must be between 1 and 4096 characters")
		}
		l.Stack = &s
	}
	v, ok := data.Lookup("buildpacks")
	if ok {
		list, isList := v.([]any)
		if v != nil && !isList {
			b.Add("Lifecycle Buildpacks must be an array")
		}
		l.Buildpacks = l.readBuildpacks(b, list)
	}
	creds, isObj := data.Get("credentials").(tree.Obj)
	if data.Get("credentials") != nil && !isObj {
		b.Add("Lifecycle Credentials must be an object")
	}
	for _, f := range creds {
		if _, ok := f.Value.(tree.Obj); !ok {
			b.Add("Lifecycle Credentials credentials value must be a hash")
			break
		}
	}
}

func (l *Lifecycle) readBuildpacks(b *cc.Body, list []any) *[]string {
	names := []string{}
	wrong, long := false, false
	for _, e := range list {
		s, ok := e.(string)
		switch {
		case !ok:
			wrong = true
		case strings.TrimSpace(s) == "" || len([]rune(s)) > 4096:
			long = true
		}
		names = append(names, s)
	}
	if wrong {
		b.Add("Lifecycle Buildpacks can only contain strings")
	}
	if long {
		b.Add("Lifecycle Buildpacks entries must be between 1 and 4096 characters")
	}
	return &names
}

// A cloud native buildpack may also be an image.
var buildpackURI = regexp.MustCompile(`(?i)\A(?:(?:https?|git|ssh|docker)://[^\s]+|git@[^\s:]+:[^\s]+)\z`)

// Check looks whether stack and buildpacks exist; stack is the one to name when the request names none.
func (l *Lifecycle) Check(tx *cc.Tx, stack string) error {
	if l == nil {
		return nil
	}
	var problems []string
	if l.Stack != nil && *l.Stack != "" {
		if StackByName(tx, *l.Stack) == nil {
			return cc.Unprocessable("Stack must be an existing stack")
		}
		stack = *l.Stack
	}
	if l.Buildpacks != nil {
		for _, b := range *l.Buildpacks {
			if p := BuildpackProblem(tx, b, stack); p != "" {
				problems = append(problems, p)
			}
		}
	}
	if problems != nil {
		return cc.Unprocessable("%s", strings.Join(problems, ", "))
	}
	return nil
}

// BuildpackProblem says why a buildpack cannot be used with a stack, "" when it can.
func BuildpackProblem(tx *cc.Tx, name, stack string) string {
	if buildpackURI.MatchString(name) || KnownBuildpack(tx, name) {
		return ""
	}
	return `Buildpack "` + name + `" for stack "` + stack + `" must be an existing admin buildpack or a valid git URI`
}

// StackByName finds a stack.
func StackByName(tx *cc.Tx, name string) *world.Stack {
	for s := range tx.W.Stacks.All() {
		if s.Name == name {
			return s
		}
	}
	return nil
}

// DefaultStack is the stack of apps that name none.
func DefaultStack(tx *cc.Tx) string {
	for s := range tx.W.Stacks.All() {
		if s.Default {
			return s.Name
		}
	}
	return ""
}

// KnownBuildpack reports whether a buildpack of that name is installed.
func KnownBuildpack(tx *cc.Tx, name string) bool {
	for b := range tx.W.Buildpacks.All() {
		if b.Name == name {
			return true
		}
	}
	return false
}

// Unready reports whether a buildpack is installed by name only, and still waits for its bits.
func Unready(tx *cc.Tx, name string) bool {
	found := false
	for b := range tx.W.Buildpacks.All() {
		if b.Name != name {
			continue
		}
		if b.Filename != "" {
			return false
		}
		found = true
	}
	return found
}

// StackProblem says why nothing may be staged on a stack any more, "" when it may: a disabled stack is for nobody, a
// restricted one not for new apps.
func StackProblem(tx *cc.Tx, name string, fresh bool) string {
	s := StackByName(tx, name)
	if s == nil || s.State != "DISABLED" && (s.State != "RESTRICTED" || !fresh) {
		return ""
	}
	text := "ERROR: Staging failed. The stack '" + s.Name + "' is '" + s.State + "' and cannot be used for staging."
	if s.StateReason != "" {
		text += " " + s.StateReason
	}
	return text
}
