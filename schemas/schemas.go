// Package schemas holds the JSON Schemas (draft 2020-12) of everything that people write for Fettle, as data:
// editors read the very files that Fettle validates with. It knows nothing of what the documents mean.
package schemas

import (
	"embed"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"path"
	"strings"
	"sync"

	"github.com/santhosh-tekuri/jsonschema/v5"
)

// FS holds the schema files.
//
//go:embed *.schema.json
var FS embed.FS

const suffix = ".schema.json"

// base is where the schemas are published; the $id of each one begins with it.
const base = "https://fettle-gitops.github.io/schemas/"

// Names lists the schemas: "config", "manifest-v1", …
func Names() []string {
	files, _ := fs.Glob(FS, "*"+suffix) // sorted; the pattern is a good one
	for i, f := range files {
		files[i] = strings.TrimSuffix(f, suffix)
	}
	return files
}

// Read is the text of a schema, as it is published.
func Read(name string) ([]byte, error) { return FS.ReadFile(strings.TrimSuffix(name, suffix) + suffix) }

// URL is where a schema is published.
func URL(name string) string { return base + strings.TrimSuffix(name, suffix) + suffix }

var compiled sync.Map // file name → func() (*jsonschema.Schema, error)

// Compile returns the compiled schema of that name: "manifest-v1" or "manifest-v1.schema.json". A schema is
// compiled once and may be used from many goroutines.
func Compile(name string) (*jsonschema.Schema, error) {
	file := strings.TrimSuffix(name, suffix) + suffix
	once, _ := compiled.LoadOrStore(file, sync.OnceValues(func() (*jsonschema.Schema, error) { return compile(file) }))
	return once.(func() (*jsonschema.Schema, error))()
}

func compile(file string) (*jsonschema.Schema, error) { return compileAt(file, "") }

// compileAt compiles the part of a schema file that a JSON pointer names.
func compileAt(file, pointer string) (*jsonschema.Schema, error) {
	c := jsonschema.NewCompiler()
	c.Draft = jsonschema.Draft2020
	c.LoadURL = func(location string) (io.ReadCloser, error) { // the network is never asked
		f, err := FS.Open(path.Base(location))
		if err != nil {
			return nil, fmt.Errorf("schema %s is not embedded: %w", location, err)
		}
		return f, nil
	}
	s, err := c.Compile(base + file + "#" + pointer)
	if err != nil {
		return nil, fmt.Errorf("schema %s: %w", file, err)
	}
	return s, nil
}

var raw sync.Map // file name → func() any

// Keyword finds the place that a validation error's AbsoluteKeywordLocation names: the keyword's value, and
// the schema object that it stands in.
func Keyword(location string) (value any, in map[string]any, ok bool) {
	address, fragment, _ := strings.Cut(location, "#")
	file := path.Base(address)
	once, _ := raw.LoadOrStore(file, sync.OnceValue(func() any {
		data, err := FS.ReadFile(file)
		var doc any
		if err != nil || json.Unmarshal(data, &doc) != nil {
			return nil
		}
		return doc
	}))
	value = once.(func() any)()
	for _, token := range strings.Split(strings.TrimPrefix(fragment, "/"), "/") {
		token, err := url.PathUnescape(token)
		if err != nil {
			return nil, nil, false
		}
		token = strings.NewReplacer("~1", "/", "~0", "~").Replace(token)
		switch v := value.(type) {
		case map[string]any:
			in = v
			value, ok = v[token]
		case []any:
			var i int
			_, err := fmt.Sscanf(token, "%d", &i)
			if ok = err == nil && i >= 0 && i < len(v); ok {
				value = v[i]
			}
		default:
			ok = false
		}
		if !ok {
			return nil, nil, false
		}
	}
	return value, in, true
}
