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
func ReadLifecycle(b *cc.Body, create bool) *Lifecycle {
	v, ok := b.Lookup("lifecycle")
	if !ok || v == nil && !create {
		return nil
	}
	o, isObj := v.(tree.Obj)
	if !isObj {
		b.Add("Lifecycle must be an object")
		return nil
	}
	l := &Lifecycle{}
	typ, hasType := o.Lookup("type")
	l.Type, _ = typ.(string)
	if (create || hasType) && !slices.Contains([]string{world.Buildpack, world.Docker, world.CNB}, l.Type) {
		b.Add("Lifecycle type is not included in the list: buildpack, docker, cnb")
		return l
	}
	d, ok := o.Lookup("data")
	data, isObj := d.(tree.Obj)
	if !isObj {
		if ok || create {
			b.Add("Lifecycle data must be an object")
		}
		return l
	}
	if l.Type == world.Docker {
		if len(data) > 0 {
			b.Add("Lifecycle data must be empty if provided")
		}
		return l
	}
	if u := cc.UnknownFields(data, "buildpacks", "stack", "credentials"); u != "" {
		b.Add("%s", u)
	}
	if s, ok := data.Lookup("stack"); ok {
		text, isText := s.(string)
		if s != nil && !isText {
			b.Add("Stack must be a string")
		}
		l.Stack = &text
	}
	if bp, ok := data.Lookup("buildpacks"); ok {
		list, isList := bp.([]any)
		if bp != nil && !isList {
			b.Add("Buildpacks must be an array")
		}
		names := []string{}
		for _, e := range list {
			s, ok := e.(string)
			if !ok {
				b.Add("Buildpacks can only contain strings")
				break
			}
			names = append(names, s)
		}
		l.Buildpacks = &names
	}
	return l
}

var gitURI = regexp.MustCompile(`(?i)\A(?:(?:https?|git|ssh)://[^\s]+|git@[^\s:]+:[^\s]+)\z`)

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
	if gitURI.MatchString(name) || KnownBuildpack(tx, name) {
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
