package manifest

import (
	"testing"

	"gopkg.in/yaml.v3"
)

// What a plain scalar is to the controller, which reads YAML 1.1 with Ruby's Psych. The first group was
// observed on a real one; the others follow from Psych's rules.
func TestPlainScalarsAreReadAsTheControllerReadsThem(t *testing.T) {
	for _, c := range []struct{ written, tag, text string }{
		{"010", tagInt, "8"},
		{"0x1F", tagInt, "31"},
		{"1_000", tagInt, "1000"},
		{"12:30:45", tagInt, "45045"},
		{"no", tagBool, "false"},
		{"~", tagNull, "null"},
		{"1e3", tagStr, "1e3"},
		{"-1", tagInt, "-1"},
		{"1.50", tagFloat, "1.5"},
		{"true", tagBool, "true"},
		{"12", tagInt, "12"},

		{"yes", tagBool, "true"},
		{"On", tagBool, "true"},
		{"OFF", tagBool, "false"},
		{"No", tagBool, "false"},
		{"y", tagStr, "y"},
		{"n", tagStr, "n"},
		{"null", tagNull, "null"},
		{"NULL", tagNull, "null"},
		{"", tagNull, "null"},
		{"nil", tagStr, "nil"},
		{"08", tagStr, "08"},
		{"0o17", tagStr, "0o17"},
		{"0b101", tagInt, "5"},
		{"+7", tagInt, "7"},
		{"-0", tagInt, "0"},
		{"1,000", tagStr, "1,000"},
		{"123456789012345678901234567890", tagInt, "123456789012345678901234567890"},
		{"12:30", tagInt, "45000"},
		{"-12:30", tagInt, "-41400"},
		{"12:60", tagStr, "12:60"},
		{"1:30:15.5", tagFloat, "5415.5"},
		{"1.0", tagFloat, "1.0"},
		{"1.", tagFloat, "1.0"},
		{".5", tagFloat, "0.5"},
		{"1_000.25", tagFloat, "1000.25"},
		{"1,234.5", tagFloat, "1234.5"},
		{".", tagStr, "."},
		{"1.5e+3", tagFloat, "1500.0"},
		{"1.5e3", tagStr, "1.5e3"},
		{"1.0e+20", tagFloat, "1.0e+20"},
		{"0.00001", tagFloat, "1.0e-05"},
		{"1.2.3", tagStr, "1.2.3"},
		{"10.0.0.1", tagStr, "10.0.0.1"},
		{"1G", tagStr, "1G"},
		{"-", tagStr, "-"},
		{"a: b", tagStr, "a: b"},
		{"2020-01-02", tagTime, "2020-01-02"},
		{"2020-01-02T03:04:05Z", tagTime, "2020-01-02T03:04:05Z"},
		{"2020-01", tagStr, "2020-01"},
		{"2020-13-02", tagStr, "2020-13-02"},
		{".inf", tagInf, ".inf"},
		{"-.INF", tagInf, "-.INF"},
		{".nan", tagInf, ".nan"},
	} {
		if tag, text := readPlain(c.written); tag != c.tag || text != c.text {
			t.Errorf("%q is %s %q, expected %s %q", c.written, tag, text, c.tag, c.text)
		}
	}
}

// What was read has a spelling that Go's YAML package reads as the same value, so that Decode and Value agree.
func TestNormalSpellingDecodesToTheSameValue(t *testing.T) {
	docs, problems := ParseYAML("x.yml", []byte("[010, 0x1F, yes, 12:30, 1_000.5, ~, '010', 1.5e+3, 08, .5]"))
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	var decoded []any
	if err := docs[0].Decode(&decoded); err != nil {
		t.Fatal(err)
	}
	want := []any{int64(8), int64(31), true, int64(45000), 1000.5, nil, "010", 1500.0, "08", 0.5}
	for i, v := range Value(docs[0]).([]any) {
		if v != want[i] {
			t.Errorf("element %d: Value gives %#v, expected %#v", i, v, want[i])
		}
		if n, ok := decoded[i].(int); ok {
			decoded[i] = int64(n)
		}
		if decoded[i] != want[i] {
			t.Errorf("element %d: Decode gives %#v, expected %#v", i, decoded[i], want[i])
		}
	}
	var typed struct{ On bool }
	docs, _ = ParseYAML("x.yml", []byte("on: yes"))
	if docs[0].Content[0].Value != "true" {
		t.Errorf("the key on is %q; YAML 1.1 has it as a boolean", docs[0].Content[0].Value)
	}
	if err := (&yaml.Node{Kind: yaml.MappingNode, Content: []*yaml.Node{{Kind: yaml.ScalarNode, Value: "on"}, docs[0].Content[1]}}).Decode(&typed); err != nil || !typed.On {
		t.Errorf("decoding yes into a bool: %v %v", typed.On, err)
	}
}
