package staging

import (
	"archive/zip"
	"bytes"
	"crypto/sha1" //nolint:gosec // what the pool knows files by
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/cc"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/tree"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/world"
)

// The resource pool keeps every file of an upload whose size lies between these (capi-release, resource_pool), so that the
// next upload need not send it again. Here it holds no copies: it knows the files within the packages that there are.
const (
	pooledFrom = 64 << 10
	pooledTo   = 512 << 20
)

func pooled(size int64) bool { return size > pooledFrom && size < pooledTo }

// pool finds the files of a package that the pool keeps.
func pool(tx *cc.Tx, bits []byte) map[string]string {
	z, err := zip.NewReader(bytes.NewReader(bits), int64(len(bits)))
	if f, ok := tx.W.Flags.Get("resource_matching"); err != nil || !ok || !f.Enabled {
		return nil
	}
	found := map[string]string{}
	for _, f := range z.File {
		if !f.Mode().IsRegular() || !pooled(int64(f.UncompressedSize64)) { //nolint:gosec // compared with a small number
			continue
		}
		r, err := f.Open()
		if err != nil {
			continue
		}
		sum := sha1.New() //nolint:gosec // as above
		if _, err := io.Copy(sum, r); err == nil {
			found[hex.EncodeToString(sum.Sum(nil))] = f.Name
		}
		_ = r.Close()
	}
	return found
}

// holder is a package that holds the file; nil when the pool does not know it.
func holder(tx *cc.Tx, sum string) *world.Package {
	for p := range tx.W.Packages.All() {
		if p.State == world.Ready && p.Pooled[sum] != "" {
			return p
		}
	}
	return nil
}

var octal = regexp.MustCompile(`^[0-7]+$`)

// matchResources says which of the files the pool has (resource_match_create_message.rb).
func matchResources(q *cc.Req) (*cc.Reply, error) {
	if err := q.FeatureForAll("app_bits_upload"); err != nil {
		return nil, err
	}
	b, err := q.Body("resources")
	if err != nil {
		return nil, err
	}
	resources := b.Get("resources")
	all, ok := resources.([]any)
	if !ok {
		b.Add("Resources must be an array")
	}
	switch { // what is missing, or an empty text, has length 0 too
	case len(all) > 5000:
		b.Add("Resources array can have at most 5000 resources")
	case ok && len(all) == 0, resources == nil, resources == "":
		b.Add("Resources must have at least 1 resource")
	}
	bad := func(what string) { // each is told once
		if p := "Resources array contains at least one resource with " + what; !slices.Contains(b.Problems, p) {
			b.Add("%s", p)
		}
	}
	found := []any{}
	for _, r := range all {
		o, _ := r.(tree.Obj)
		checksum, isObject := o.Get("checksum").(tree.Obj)
		sum, isText := checksum.Get("value").(string)
		switch {
		case !isObject:
			bad("a non-object checksum")
		case !isText:
			bad("a non-string checksum value")
		case len(sum) != 40:
			bad("a non-SHA1 checksum value")
		}
		size, isNumber := o.Get("size_in_bytes").(int64)
		switch {
		case !isNumber:
			bad("a non-integer size_in_bytes")
		case size < 0:
			bad("a negative size_in_bytes")
		}
		mode, given := o.Get("mode"), ""
		switch m := mode.(type) {
		case nil:
		case string:
			if given = m; !octal.MatchString(m) {
				bad("an incorrect mode")
			}
		default:
			bad("a non-string mode")
		}
		// Files without a mode are known to nobody, nor are those that their owner could not read and write.
		bits, err := strconv.ParseInt(given, 8, 64)
		if err == nil && bits >= 0o600 && pooled(size) && holder(&q.Tx, sum) != nil {
			found = append(found, tree.O("checksum", tree.O("value", sum), "size_in_bytes", size, "path", o.Get("path"), "mode", mode))
		}
	}
	if err := b.Err(); err != nil {
		return nil, err
	}
	if f, ok := q.W.Flags.Get("resource_matching"); ok && !f.Enabled {
		found = []any{}
	}
	return cc.Created(tree.O("resources", found)), nil
}

// namedResources reads what an upload says of files that it does not send, in the form of V3 or of V2.
func namedResources(all []any) []world.Resource {
	var named []world.Resource
	for _, r := range all {
		o, _ := r.(tree.Obj)
		var n world.Resource
		if sum, ok := o.Path("checksum", "value").(string); ok {
			n.SHA1 = sum
			n.Path, _ = o.Get("path").(string)
		} else {
			n.SHA1, _ = o.Get("sha1").(string)
			n.Path, _ = o.Get("fn").(string)
		}
		n.Mode, _ = o.Get("mode").(string)
		named = append(named, n)
	}
	return named
}

// assemble adds the named files to what was uploaded, and leaves folders out.
func assemble(tx *cc.Tx, p *world.Package) ([]byte, error) {
	var b bytes.Buffer
	out := zip.NewWriter(&b)
	if p.Bits != nil {
		in, err := zip.NewReader(bytes.NewReader(p.Bits), int64(len(p.Bits)))
		if err != nil {
			return nil, errors.New("The app upload is invalid: Invalid zip archive.") //nolint:staticcheck // the controller's words
		}
		for _, f := range in.File {
			if f.Mode().IsDir() {
				continue
			}
			if err := out.Copy(f); err != nil {
				return nil, err
			}
		}
	}
	for _, r := range p.Matched {
		if err := addPooled(tx, out, r); err != nil {
			return nil, err
		}
	}
	err := out.Close()
	return b.Bytes(), err
}

func addPooled(tx *cc.Tx, out *zip.Writer, r world.Resource) error {
	if clean := path.Clean(r.Path); r.Path == "" || path.IsAbs(r.Path) || slices.Contains(strings.Split(clean, "/"), "..") {
		return fmt.Errorf("The resource file path is invalid: File path '%s' is not safe.", r.Path) //nolint:staticcheck // the controller's words
	}
	mode := int64(0o744)
	if r.Mode != "" {
		mode, _ = strconv.ParseInt(r.Mode, 8, 32)
	}
	if mode&0o600 != 0o600 {
		return fmt.Errorf("The resource file mode is invalid: File mode '%s' with path '%s' is invalid. Minimum file mode is '0600'", r.Mode, r.Path) //nolint:staticcheck // the controller's words
	}
	from := holder(tx, r.SHA1)
	if from == nil {
		return errors.New("One or more cached resources did not match the given checksum. They have been deleted; please retry package upload.") //nolint:staticcheck // the controller's words
	}
	in, err := zip.NewReader(bytes.NewReader(from.Bits), int64(len(from.Bits)))
	if err != nil {
		return err
	}
	file, err := in.Open(from.Pooled[r.SHA1])
	if err != nil {
		return err
	}
	defer func() { _ = file.Close() }()
	header := &zip.FileHeader{Name: r.Path, Method: zip.Deflate}
	header.SetMode(fs.FileMode(mode) & fs.ModePerm) //nolint:gosec // at most nine bits are kept
	w, err := out.CreateHeader(header)
	if err == nil {
		_, err = io.Copy(w, file)
	}
	return err
}
