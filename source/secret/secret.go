// Package secret is where values come from that must not stand in Git in clear: the passwords, keys and tokens behind
// ((variables)).
//
// There are two ways to keep them, and a package or type for each place:
//
//	encrypted   vars files that lie in Git encrypted, by SOPS (through the user's own sops) or by age
//	vault       HashiCorp Vault or OpenBao, KV version 2
//	credhub     CredHub
//	Env         environment variables, such as a CI job has them
//	Dir         a folder with one file per variable, such as Kubernetes and systemd mount it
//
// An encrypted file is opened as a whole. The others are [Provider]s, which are asked only for the names that the
// manifests mention; so an agent needs to be allowed no more than its manifests use, and nobody has to list names twice.
//
// # Names
//
// A manifest writes ((name)) or ((name.key.deeper)). A provider is asked for the part before the first dot and answers
// with a tree: what ((db.password)) means is the key password of the value named db.
//
// # What is promised
//
// Every value from here is secret, whatever it looks like. No value, token or key ever stands in an [Error], in a log
// or in a file. A value that a place does not have is no error here: it is simply left out, and whoever reads the manifest
// says in which line it is missed. A place that cannot be reached, or refuses, is an error, so that no app
// ever runs with half of its configuration.
//
// This package and those below it never write to any of these places, and keep nothing between two calls but tokens.
package secret

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"gopkg.in/yaml.v3"
)

// Variables are values by name. A value is what JSON knows: nil, bool, json.Number, string, []any or map[string]any.
type Variables map[string]any

// Provider is a place that can be asked for single values.
type Provider interface {
	// Lookup returns the values of those of the names that this place has. Errors are *Error.
	Lookup(ctx context.Context, names []string) (Variables, error)

	// String names the place for people, without any credential: "vault https://vault.example.com secret/shop".
	String() string
}

// Error says which place could not give a value, why, and what to do next. It never holds a value or a credential.
type Error struct {
	Place     string // Provider.String(), or the name of the file
	Message   string // what is wrong
	Hint      string // what a person can do
	Temporary bool   // the same attempt may succeed later
	Err       error  // the cause, where another package's error says more
}

// Error reads: "vault https://vault.example.com secret/shop: permission denied (hint)".
func (e *Error) Error() string {
	s := e.Place + ": " + e.Message
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	if e.Hint != "" {
		s += " (" + e.Hint + ")"
	}
	return s
}

// Unwrap gives the cause.
func (e *Error) Unwrap() error { return e.Err }

// Retryable reports whether the same attempt may succeed later.
func (e *Error) Retryable() bool { return e.Temporary }

// Document writes the variables as a YAML document in which no text can be mistaken for anything else: every one is
// quoted, so that the password 012 stays 012. Each variable has one line.
func Document(v Variables) ([]byte, error) {
	root, err := node(map[string]any(v), "")
	if err != nil {
		return nil, err
	}
	root.Style = 0
	return yaml.Marshal(root)
}

func node(value any, name string) (*yaml.Node, error) {
	switch v := value.(type) {
	case nil:
		return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!null", Value: "null"}, nil
	case bool:
		return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!bool", Value: strconv.FormatBool(v)}, nil
	case json.Number:
		return number(v), nil
	case string:
		if !utf8.ValidString(v) {
			return nil, fmt.Errorf("the value of %s holds bytes that are no text; store it in base64, and decode it in the app", name)
		}
		return text(v), nil
	case []any:
		n := &yaml.Node{Kind: yaml.SequenceNode, Style: yaml.FlowStyle}
		for _, e := range v {
			child, err := node(e, name)
			if err != nil {
				return nil, err
			}
			n.Content = append(n.Content, child)
		}
		return n, nil
	case map[string]any:
		n := &yaml.Node{Kind: yaml.MappingNode, Style: yaml.FlowStyle}
		for _, key := range slices.Sorted(maps.Keys(v)) {
			below := key
			if name != "" {
				below = name + "." + key
			}
			child, err := node(v[key], below)
			if err != nil {
				return nil, err
			}
			n.Content = append(n.Content, text(key), child)
		}
		return n, nil
	}
	return nil, fmt.Errorf("the value of %s is of a kind that a variable cannot have", name)
}

func text(s string) *yaml.Node {
	return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: s, Style: yaml.DoubleQuotedStyle}
}

// number writes a JSON number as YAML 1.1 reads it too, where 1e3 is a text.
func number(n json.Number) *yaml.Node {
	s := n.String()
	if !strings.ContainsAny(s, ".eE") {
		return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!int", Value: s}
	}
	if f, err := n.Float64(); err == nil && strings.ContainsAny(s, "eE") {
		if s = strconv.FormatFloat(f, 'f', -1, 64); !strings.Contains(s, ".") {
			s += ".0"
		}
	}
	return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!float", Value: s}
}
