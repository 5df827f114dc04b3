package manifest

import (
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"gopkg.in/yaml.v3"
)

// environment reads the environment variables. Values become texts, as the controller makes them; null
// becomes the empty text there, it does not remove the variable.
func (a *v1App) environment() {
	n := a.fields.get("env")
	if n == nil || n.Kind != yaml.MappingNode {
		return
	}
	a.collection(n, "environment_variables")
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		if a.open[key] {
			continue
		}
		if key.Tag != tagStr {
			a.bad(key, "env-name", fmt.Sprintf("the name of an environment variable must be a text, got %s", kindOf(key)), "quote the name as it is meant")
			continue
		}
		if key.Style == 0 && strings.HasPrefix(key.Value, ":") && len(key.Value) > 1 {
			a.bad(key, "yaml-symbol", "the controller takes an unquoted name that begins with : for a Ruby symbol, and refuses it", "quote the name")
		}
		if words := checkEnvName(key.Value); words != "" {
			a.bad(key, "env-name", words, "choose another name")
			continue
		}
		if text, ok := a.asText(value); ok {
			a.put(text, value, "environment_variables", key.Value)
		}
	}
}

// checkEnvName says why the platform would refuse the name, or nothing. It compares without regard to case.
func checkEnvName(name string) string {
	upper := strings.ToUpper(name)
	switch {
	case name == "":
		return "an environment variable without a name"
	case strings.HasPrefix(upper, "VCAP_"):
		return fmt.Sprintf("the environment variable %s: names that begin with VCAP_ are the platform's", shorten(name))
	case strings.HasPrefix(upper, "VMC"):
		return fmt.Sprintf("the environment variable %s: names that begin with VMC are the platform's", shorten(name))
	case upper == "PORT":
		return "the environment variable PORT is set by the platform"
	}
	return ""
}

// asJSON is the node as compact JSON, where that is short enough for a hint.
func asJSON(n *yaml.Node) (string, bool) {
	text, err := json.Marshal(Value(n))
	return string(text), err == nil && len(text) <= 80
}

// The controller's limits on metadata (V3 reference, "Metadata"; 50 and 200 are its defaults).
const (
	maxLabels      = 50
	maxAnnotations = 200
	maxMetadataKey = 63
	maxPrefix      = 253
	maxLabelValue  = 63
	maxAnnotation  = 5000
)

// metadata reads labels and annotations of o, or of the part of it at keys. null is kept: it removes what is there.
func (d *document) metadata(o *Object, n *yaml.Node, keys ...string) {
	if n == nil || n.Kind != yaml.MappingNode {
		return
	}
	d.metadataMap(o, childOf(n, "labels"), "labels", maxLabels, keys)
	d.metadataMap(o, childOf(n, "annotations"), "annotations", maxAnnotations, keys)
}

func (d *document) metadataMap(o *Object, n *yaml.Node, what string, limit int, keys []string) {
	if n == nil || n.Kind != yaml.MappingNode {
		return
	}
	at := append(slices.Clone(keys), "metadata", what)
	if len(n.Content) == 0 {
		d.collection(o, n, at...)
	}
	set := 0
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		if d.open[key] {
			continue
		}
		if isSetting(o, what, key.Value, keys) {
			d.setting(o, key, value)
			continue
		}
		d.collection(o, n, at...) // settings alone say nothing about the annotations
		if words := checkMetadataKey(key.Value); words != "" && (what == "labels" || value.Tag != tagNull) {
			d.bad(key, "metadata-key", fmt.Sprintf("the %s key %q %s", strings.TrimSuffix(what, "s"), shorten(key.Value), words), "")
			continue
		}
		text, ok := d.asText(value)
		if !ok {
			continue
		}
		if value.Tag == tagNull {
			d.put(o, nil, value, append(at, key.Value)...)
			continue
		}
		set++
		if what == "labels" {
			if words := checkLabelValue(text); words != "" {
				d.bad(value, "metadata-value", fmt.Sprintf("the value of the label %s %s", shorten(key.Value), words), "")
				continue
			}
		} else if n := len([]rune(text)); n > maxAnnotation {
			d.bad(value, "metadata-value", fmt.Sprintf("the value of the annotation %s has %d characters; expected at most %d", shorten(key.Value), n, maxAnnotation), "")
			continue
		}
		d.put(o, text, value, append(at, key.Value)...)
	}
	if set > limit {
		d.bad(n, "metadata-count", fmt.Sprintf("%d %s; expected at most %d", set, what, limit), "")
	}
}

var (
	metadataChars  = regexp.MustCompile(`^[A-Za-z0-9._-]*$`)
	metadataEnds   = regexp.MustCompile(`^[A-Za-z0-9](.*[A-Za-z0-9])?$`)
	metadataPrefix = regexp.MustCompile(`(?i)^(([a-z0-9]|[a-z0-9][a-z0-9-]{0,61}[a-z0-9])\.)+([a-z0-9]|[a-z0-9][a-z0-9-]{0,61}[a-z0-9])$`)
)

// checkMetadataKey says what is wrong with the key of a label or an annotation, or nothing.
func checkMetadataKey(key string) string {
	prefix, name, hasPrefix := strings.Cut(key, "/")
	if !hasPrefix {
		prefix, name = "", key
	}
	switch {
	case strings.Contains(name, "/"):
		return "has more than one /"
	case hasPrefix && len(prefix) > maxPrefix:
		return fmt.Sprintf("has a prefix of more than %d characters", maxPrefix)
	case hasPrefix && !metadataPrefix.MatchString(prefix):
		return "needs a DNS name such as example.com before the /"
	case hasPrefix && strings.EqualFold(prefix, "cloudfoundry.org"):
		return "has the prefix cloudfoundry.org, which is the platform's"
	case hasPrefix && strings.EqualFold(prefix+"/", MetadataPrefix):
		return "has the prefix of Fettle's settings, which stand among the annotations of an app"
	case name == "":
		return "has no name"
	case !metadataChars.MatchString(name):
		return "may contain letters, digits, . _ and - only"
	case !metadataEnds.MatchString(name):
		return "must begin and end with a letter or a digit"
	case len(name) > maxMetadataKey:
		return fmt.Sprintf("is longer than %d characters", maxMetadataKey)
	}
	return ""
}

func checkLabelValue(value string) string {
	switch {
	case value == "":
		return ""
	case !metadataChars.MatchString(value):
		return "may contain letters, digits, . _ and - only; annotations take any text"
	case !metadataEnds.MatchString(value):
		return "must begin and end with a letter or a digit"
	case len(value) > maxLabelValue:
		return fmt.Sprintf("is longer than %d characters; annotations take up to %d", maxLabelValue, maxAnnotation)
	}
	return ""
}
