package export

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"gopkg.in/yaml.v3"

	"github.com/fettle-gitops/fettle/manifest"
)

// version2 writes all objects into one document.
func (w *writer) version2(objects []*manifest.Object) (*yaml.Node, error) {
	text, err := manifest.MarshalV2(objects)
	if err != nil {
		return nil, err
	}
	doc, err := parse(text)
	if err != nil {
		return nil, err
	}
	// The entries of each list have the order of the objects, and bindings of all kinds share one list.
	places := map[manifest.Kind]string{
		manifest.KindApp: "apps", manifest.KindRoute: "routes", manifest.KindServiceInstance: "service_instances",
		manifest.KindServiceBinding: "service_bindings", manifest.KindServiceKey: "service_bindings", manifest.KindServiceRouteBinding: "service_bindings",
	}
	next := map[string]int{}
	for _, o := range objects { // in the order of Ref.Compare, as MarshalV2 has them
		list := places[o.Ref.Kind]
		w.attach(child(doc, list).Content[next[list]], o.Ref)
		next[list]++
	}
	return doc, nil
}

// fits1 reports whether version 1 has a word for the resource, and else says so at the top.
func (w *writer) fits1(o *manifest.Object) bool {
	switch o.Ref.Kind {
	case manifest.KindApp, manifest.KindServiceBinding:
		return true
	case manifest.KindRoute:
		destinations, _ := o.Spec["destinations"].(map[string]any)
		if o.Inputs["shared"] != true && len(destinations) > 0 {
			return true
		}
	}
	w.lost(words(o.Ref))
	return false
}

func (w *writer) lost(what string) {
	w.left = append(w.left, "Left out, because version 1 cannot say it: "+what+".")
}

// words name a resource within its space.
func words(ref manifest.Ref) string {
	return strings.ReplaceAll(string(ref.Kind), "_", " ") + " " + ref.Name()
}

// fit1 takes out of an object what version 1 cannot say of it.
func (w *writer) fit1(o *manifest.Object) {
	switch o.Ref.Kind {
	case manifest.KindApp:
		w.fitApp1(o)
		return
	case manifest.KindRoute:
		destinations, _ := o.Spec["destinations"].(map[string]any)
		for _, key := range slices.Sorted(maps.Keys(destinations)) {
			d, _ := destinations[key].(map[string]any)
			port, _ := d["port"].(int64)
			switch {
			case !strings.HasSuffix(key, "/web"):
				w.lost(words(o.Ref) + " leads to " + key)
				delete(destinations, key)
			case port != 8080 && port != 0 && d["protocol"] != "tcp":
				w.lost(fmt.Sprintf("%s leads to port %d of %s", words(o.Ref), port, key))
				delete(d, "port")
			}
		}
	}
	if o.Spec["metadata"] != nil {
		w.lost("labels and annotations of " + words(o.Ref))
		delete(o.Spec, "metadata")
	}
}

// fitApp1 has left alone what version 1 would otherwise take for said: the code, and that the app is started.
func (w *writer) fitApp1(o *manifest.Object) {
	var ignored []string
	if o.Spec["package"] == nil {
		ignored = append(ignored, "/package")
		w.note(o.Ref, "To have its code deployed, give it a path, and take /package from what is ignored.")
	}
	if o.Spec["state"] != "STARTED" {
		ignored = append(ignored, "/state")
		w.note(o.Ref, "It is stopped, which version 1 cannot say.")
	}
	if len(ignored) == 0 {
		return
	}
	texts := o.Settings.Texts()
	if texts == nil {
		texts = map[string]string{}
	}
	if before := texts["ignore"]; before != "" {
		ignored = append([]string{before}, ignored...)
	}
	texts["ignore"] = strings.Join(ignored, ", ")
	if settings, err := manifest.NewSettings(texts); err == nil {
		o.Settings = settings
	}
}

// version1 writes the apps with what belongs to them.
func (w *writer) version1(objects []*manifest.Object) (*yaml.Node, error) {
	var apps, attached []*manifest.Object
	for _, o := range objects {
		if o.Ref.Kind == manifest.KindApp {
			apps = append(apps, o)
		} else {
			attached = append(attached, o)
		}
	}
	list := &yaml.Node{Kind: yaml.SequenceNode, Tag: "!!seq"}
	for _, app := range apps {
		text, err := manifest.MarshalV1(append([]*manifest.Object{app}, attached...))
		if err != nil {
			return nil, err
		}
		doc, err := parse(text)
		if err != nil {
			return nil, err
		}
		entry := child(doc, "applications").Content[0]
		w.attach(entry, app.Ref)
		list.Content = append(list.Content, entry)
	}
	if len(list.Content) == 0 {
		list.Style = yaml.FlowStyle
	}
	return &yaml.Node{Kind: yaml.MappingNode, Content: []*yaml.Node{
		{Kind: yaml.ScalarNode, Value: "version"},
		{Kind: yaml.ScalarNode, Value: "1"},
		{Kind: yaml.ScalarNode, Value: "applications"},
		list,
	}}, nil
}

// attach puts what there is to say above an entry.
func (w *writer) attach(entry *yaml.Node, ref manifest.Ref) {
	if lines := w.comments[ref]; len(lines) > 0 {
		entry.HeadComment = comment(lines)
	}
}

// parse reads what package manifest wrote, to lay comments into it.
func parse(text []byte) (*yaml.Node, error) {
	var doc yaml.Node
	if err := yaml.Unmarshal(text, &doc); err != nil {
		return nil, fmt.Errorf("reading the manifest again: %w", err)
	}
	return doc.Content[0], nil
}

func child(n *yaml.Node, key string) *yaml.Node {
	for i := 0; i+1 < len(n.Content); i += 2 {
		if n.Content[i].Value == key {
			return n.Content[i+1]
		}
	}
	return nil
}
