package secret

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// maxFile is the size up to which a file is taken for a value. Kubernetes allows 1 MiB for a whole Secret.
const maxFile = 1 << 20

// Dir takes values from a folder on this machine in which each file is one variable, such as Kubernetes mounts a Secret
// or systemd its credentials. Every value is a text; one newline at its end is cut, since editors and echo add it.
//
// A dot in the name of a file is the dot of a manifest: ((tls.crt)) is the file tls.crt. The files are read anew each
// time, because both systems replace them when a secret is rotated. Hidden files are not looked at.
type Dir struct {
	Path string
}

// String reads "folder /run/credentials/fettle".
func (d Dir) String() string { return "folder " + d.Path }

// Lookup reads the files of the names, and those whose names go on with a dot.
func (d Dir) Lookup(_ context.Context, names []string) (Variables, error) {
	entries, err := os.ReadDir(d.Path)
	if err != nil {
		return nil, &Error{Place: d.String(), Message: "the folder cannot be read", Err: err, Hint: "check that the secret is mounted and that fettle may read it"}
	}
	found := Variables{}
	for _, e := range entries { // sorted: "db" comes before "db.password"
		keys := strings.Split(e.Name(), ".")
		if !slices.Contains(names, keys[0]) || slices.Contains(keys, "") {
			continue
		}
		value, ok, err := d.read(e.Name())
		if err != nil {
			return nil, err
		}
		if ok && !put(found, keys, value) {
			return nil, &Error{
				Place: d.String(), Message: fmt.Sprintf("the file %s stands beside a file with the name before its dot, so that ((%s)) could mean either", e.Name(), keys[0]),
				Hint: "rename one of them",
			}
		}
	}
	return found, nil
}

// read gives the content of a regular file; symlinks are followed, because Kubernetes mounts a Secret that way.
func (d Dir) read(name string) (value string, ok bool, err error) {
	path := filepath.Join(d.Path, name)
	info, err := os.Stat(path)
	if err != nil {
		return "", false, &Error{Place: d.String(), Message: "the file " + name + " cannot be read", Err: err}
	}
	if !info.Mode().IsRegular() {
		return "", false, nil
	}
	f, err := os.Open(path)
	if err != nil {
		return "", false, &Error{Place: d.String(), Message: "the file " + name + " cannot be read", Err: err}
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return "", false, &Error{Place: d.String(), Message: "the file " + name + " cannot be read", Err: err}
	}
	if len(data) > maxFile {
		return "", false, &Error{Place: d.String(), Message: fmt.Sprintf("the file %s is larger than %d MiB, which no secret is", name, maxFile>>20)}
	}
	text := strings.TrimSuffix(string(data), "\n")
	return strings.TrimSuffix(text, "\r"), true, nil
}

// put stores value in the tree; false means that a value stands where a branch should be.
func put(tree map[string]any, keys []string, value string) bool {
	for _, key := range keys[:len(keys)-1] {
		next, exists := tree[key]
		if !exists {
			next = map[string]any{}
			tree[key] = next
		}
		branch, ok := next.(map[string]any)
		if !ok {
			return false
		}
		tree = branch
	}
	if _, taken := tree[keys[len(keys)-1]]; taken {
		return false
	}
	tree[keys[len(keys)-1]] = value
	return true
}
