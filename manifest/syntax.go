package manifest

import (
	"bytes"
	"regexp"
	"strconv"
	"strings"
	"unicode/utf8"
)

var syntaxLine = regexp.MustCompile(`^yaml: (?:line (\d+): )?(.*)$`)

// What the YAML package says, and what it means to a person.
var syntaxWords = []struct{ says, message, hint string }{
	{"found character that cannot start any token", "a value cannot begin with this character", "quote the value"},
	{"mapping values are not allowed", "a second \": \" on one line", "quote text that contains \": \", or mend the indentation"},
	{"could not find expected ':'", "expected \"key: value\"", "a colon is missing, or the indentation is wrong"},
	{"did not find expected key", "expected a key here", "the indentation is wrong, or a quote closes too early"},
	{"did not find expected node content", "expected a value here", "a comma or a bracket is too much, or one is missing"},
	{"did not find expected '-' indicator", "expected a list entry (\"- \") here", "mend the indentation"},
	{"did not find expected ',' or ']'", "the list [ … ] is not closed", "add the missing , or ]"},
	{"did not find expected ',' or '}'", "the map { … } is not closed", "add the missing , or }"},
	{"did not find expected alphabetic or numeric character", "a value that begins with * or & means an alias or an anchor", "quote the value"},
	{"found unexpected end of stream", "a quote is not closed", "add the closing quote"},
	{"found unknown escape character", "unknown escape after \\ in a \"double-quoted\" text", "use 'single quotes', where \\ means itself"},
	{"did not find expected hexdecimal number", "unknown escape after \\ in a \"double-quoted\" text", "use 'single quotes', where \\ means itself"},
	{"unknown anchor", "an alias without its anchor", "define it first with &name; anchors do not reach into another document"},
	{"exceeded max depth", "the nesting is too deep", ""},
	{"control characters are not allowed", "the text contains a control character", "remove it, or write it as an escape in \"double quotes\""},
	{"invalid Unicode character", "the text is not UTF-8", "save the file as UTF-8"},
	{"invalid leading UTF-8 octet", "the text is not UTF-8", "save the file as UTF-8"},
	{"incomplete UTF-8", "the text is not UTF-8", "save the file as UTF-8"},
	{"invalid trailing UTF-8 octet", "the text is not UTF-8", "save the file as UTF-8"},
	{"found a tab character", "a tab cannot indent", "indent with spaces"},
}

// syntaxProblem gives an error of the YAML package a column and plainer words.
func syntaxProblem(file string, data []byte, err error) Problem {
	match := syntaxLine.FindStringSubmatch(strings.SplitN(err.Error(), "\n", 2)[0])
	line, says := 1, err.Error()
	if match != nil {
		says = match[2]
		if n, err := strconv.Atoi(match[1]); err == nil {
			line = n
		}
	}
	p := Problem{Origin: Origin{File: file, Line: line, Column: 1}, Severity: SeverityError, Rule: "yaml-syntax", Message: "this is not valid YAML: " + says}
	for _, w := range syntaxWords {
		if strings.Contains(says, w.says) {
			p.Message, p.Hint = "this is not valid YAML: "+w.message, w.hint
			break
		}
	}
	lines := bytes.Split(data, []byte("\n"))
	p.Origin.Line = min(p.Origin.Line, len(lines))
	if strings.Contains(says, "cannot start any token") || strings.Contains(says, "tab character") {
		// The reported line is sometimes the one before; a tab in the indentation is nearly always the reason.
		for l := max(p.Origin.Line-1, 1); l <= min(p.Origin.Line+1, len(lines)); l++ {
			indent := lines[l-1][:len(lines[l-1])-len(bytes.TrimLeft(lines[l-1], " \t-"))]
			if i := bytes.IndexByte(indent, '\t'); i >= 0 {
				p.Origin.Line, p.Origin.Column = l, i+1
				p.Rule, p.Message, p.Hint = "yaml-tab", "a tab cannot indent YAML", "indent with spaces"
				return p
			}
		}
	}
	if q, found := findBrokenQuote(data); found && aboutQuotes.MatchString(says) {
		p.Origin.Line, p.Origin.Column = q.line, q.column
		p.Message, p.Hint = "this is not valid YAML: the quote that opens here is not closed, or not where it should be", "add the closing quote"
		if q.inside {
			p.Message = "this is not valid YAML: the quote closes before this, and text follows"
			p.Hint = `a quote inside of 'single quotes' is written '', inside of "double quotes" \"`
		}
		return p
	}
	if open, found := findOpenBracket(data); found && aboutBrackets.MatchString(says) {
		p.Origin.Line, p.Origin.Column = open.line, open.column
		p.Message, p.Hint = "this is not valid YAML: the list [ … ] that opens here is not closed", "add the missing , or ]"
		if open.bracket == '{' {
			p.Message, p.Hint = "this is not valid YAML: the map { … } that opens here is not closed", "add the missing , or }"
		}
		return p
	}
	if at, hint, found := findMisfit(data); found && aboutIndentation.MatchString(says) {
		p.Origin.Line, p.Origin.Column = at.line, at.column
		p.Message, p.Hint = "this is not valid YAML: the indentation does not fit the lines above", hint
		return p
	}
	if m := unknownAnchor.FindStringSubmatch(says); m != nil { // the YAML package names no line
		alias := regexp.MustCompile(`(?:^|[\s,\[{])(\*)` + regexp.QuoteMeta(m[1]) + `(?:[\s,\]}]|$)`)
		for i, text := range lines {
			if at := alias.FindSubmatchIndex(text); at != nil {
				p.Origin.Line, p.Origin.Column = i+1, utf8.RuneCount(text[:at[2]])+1
				p.Message = "this is not valid YAML: the alias *" + shorten(m[1]) + " has no anchor"
				return p
			}
		}
	}
	text := lines[p.Origin.Line-1]
	column := len(text) - len(bytes.TrimLeft(text, " \t"))
	switch colons := syntaxColon.FindAllIndex(text, -1); {
	case strings.Contains(says, "cannot start any token"):
		if m := syntaxStart.FindIndex(text); m != nil {
			column = m[1] - 1
		}
	case strings.Contains(says, "mapping values are not allowed") && len(colons) > 1:
		column = colons[1][0]
	case strings.Contains(says, "mapping values are not allowed"):
		if p.Origin.Line > 1 {
			if m := noSpace.FindSubmatchIndex(lines[p.Origin.Line-2]); m != nil {
				before := lines[p.Origin.Line-2]
				p.Origin.Line, p.Origin.Column = p.Origin.Line-1, utf8.RuneCount(before[:m[3]])+1
				p.Message, p.Hint = "this is not valid YAML: a space is missing behind the colon", "write a space between the : and the value"
				return p
			}
		}
		p.Message, p.Hint = "this is not valid YAML: the indentation does not fit the lines above", "keys of one map stand below each other"
	case strings.Contains(says, "alphabetic or numeric character"):
		if m := syntaxAlias.FindIndex(text); m != nil {
			column = m[1] - 1
		}
	}
	p.Origin.Column = utf8.RuneCount(text[:column]) + 1
	return p
}

// aboutQuotes are the mistakes that a quote out of place makes the YAML package report.
var aboutQuotes = regexp.MustCompile(`unexpected end of stream|did not find expected (key|',' or|'-' indicator|<document start>)|could not find expected ':'|mapping values|unknown escape|document separator`)

// aboutBrackets are the mistakes that a bracket without its end makes the YAML package report.
var aboutBrackets = regexp.MustCompile(`',' or|block sequence entries|could not find expected ':'|node content|mapping values`)

// aboutIndentation are those that come of a line that stands too far left or right.
var aboutIndentation = regexp.MustCompile(`did not find expected (key|'-' indicator|<document start>)`)

var (
	awaitsValue   = regexp.MustCompile(`:(\s+[&!]\S+)*(\s+#.*)?$`)
	unknownAnchor = regexp.MustCompile(`unknown anchor '(.*)' referenced`)
	noSpace       = regexp.MustCompile(`^[ -]*([\w-]+):[^\s:/]\S*$`)
	syntaxAlias   = regexp.MustCompile(`(^|[\s,\[{])[*&]`)
	syntaxColon   = regexp.MustCompile(`:(\s|$)`)
	syntaxStart   = regexp.MustCompile("(^|[\\s,\\[{])[@`%]")
)

// place is where something stands in a text.
type place struct {
	line, column int
	bracket      byte
}

// findOpenBracket looks for the bracket that has no end: the innermost one at the end of the text, or at a bracket of the
// other kind. The YAML package says where it gave up, which may be anywhere below.
func findOpenBracket(data []byte) (place, bool) {
	var open []place
	line, lineStart, start := 1, 0, true
	for i := 0; i < len(data); i++ {
		switch c := data[i]; {
		case c == '\n':
			end := i + 1
			if len(open) == 0 {
				end = skipBlockText(data, lineStart, i)
			}
			line += bytes.Count(data[i:end], []byte("\n"))
			i, lineStart, start = end-1, end, true
		case c == '#' && (i == lineStart || data[i-1] == ' ' || data[i-1] == '\t'):
			for i+1 < len(data) && data[i+1] != '\n' {
				i++
			}
		case (c == '"' || c == '\'') && start:
			end := closingQuote(data, i)
			if end < 0 {
				return place{}, false
			}
			if n := bytes.Count(data[i:end], []byte("\n")); n > 0 {
				line, lineStart = line+n, i+bytes.LastIndexByte(data[i:end], '\n')+1
			}
			i, start = end, false
		case (c == '[' || c == '{') && (start || len(open) > 0):
			open = append(open, place{line: line, column: utf8.RuneCount(data[lineStart:i]) + 1, bracket: c})
			start = true
		case (c == ']' || c == '}') && len(open) > 0:
			last := open[len(open)-1]
			if (c == ']') != (last.bracket == '[') {
				return last, true
			}
			open, start = open[:len(open)-1], false
		case c == ' ' || c == '\t':
		case c == ',' && len(open) > 0:
			start = true
		case c == ':' || c == '-' || c == '?':
			start = i+1 >= len(data) || data[i+1] == ' ' || data[i+1] == '\t' || data[i+1] == '\n'
		default:
			start = false
		}
	}
	if len(open) == 0 {
		return place{}, false
	}
	return open[len(open)-1], true
}

// findMisfit looks for the first line that belongs to none of the maps and lists above it.
func findMisfit(data []byte) (place, string, bool) {
	type level struct {
		column        int
		isMap, isList bool
		awaits        bool // the last key here has no value in its line
	}
	var levels []level
	var next int
	line := 1
	for from := 0; from < len(data); from = next {
		end := len(data)
		if i := bytes.IndexByte(data[from:], '\n'); i >= 0 {
			end = from + i
		}
		next = min(skipBlockText(data, from, end), len(data))
		text := bytes.TrimRight(data[from:end], " \t\r")
		rest := bytes.TrimLeft(text, " ")
		column := len(text) - len(rest)
		at := place{line: line, column: column + 1}
		line += bytes.Count(data[end:next], []byte("\n"))
		switch {
		case len(rest) == 0, rest[0] == '#':
			continue
		case column == 0 && (bytes.HasPrefix(rest, []byte("---")) || bytes.HasPrefix(rest, []byte("..."))):
			levels = nil
			continue
		}
		popped := false
		for len(levels) > 0 && levels[len(levels)-1].column > column {
			levels, popped = levels[:len(levels)-1], true
		}
		if popped && (len(levels) == 0 || levels[len(levels)-1].column != column) {
			return at, "put it below the line that it belongs to: what belongs together begins in the same column", true
		}
		for {
			dash := len(rest) > 0 && rest[0] == '-' && (len(rest) == 1 || rest[1] == ' ')
			if len(levels) == 0 || levels[len(levels)-1].column < column {
				levels = append(levels, level{column: column, isList: dash, isMap: !dash})
			}
			top := &levels[len(levels)-1]
			switch {
			case dash && !top.isList && !top.awaits:
				return at, "a list entry (\"- \") cannot stand between the keys of a map; mend the indentation", true
			case dash:
				top.isList = true
			case !top.isMap:
				return at, "expected another list entry (\"- \") here; indent this with two more spaces if it belongs to the entry above", true
			default:
				top.isList, top.awaits = false, awaitsValue.Match(rest)
			}
			if !dash || len(rest) == 1 {
				break
			}
			trimmed := bytes.TrimLeft(rest[1:], " ")
			column += len(rest) - len(trimmed)
			rest = trimmed
		}
	}
	return place{}, "", false
}
