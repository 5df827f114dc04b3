package manifest

import (
	"bytes"
	"regexp"
	"unicode/utf8"
)

// brokenQuote is a quoted text that is not closed, or is closed before its end.
type brokenQuote struct {
	line, column int
	inside       bool // it is closed in its own line, and more text follows
}

// blockText ends a line that begins a text of several lines, in which quotes mean nothing.
var blockText = regexp.MustCompile(`(^|[\s:-])[|>][-+0-9]*\s*(#.*)?$`)

// findBrokenQuote looks for the quote that makes a text no YAML. The YAML package only says where it gave up, which is
// often the first line of the file or the last.
func findBrokenQuote(data []byte) (brokenQuote, bool) {
	line, lineStart, start := 1, 0, true
	place := func(at int) brokenQuote {
		return brokenQuote{line: line, column: utf8.RuneCount(data[lineStart:at]) + 1}
	}
	for i := 0; i < len(data); i++ {
		switch c := data[i]; {
		case c == '\n':
			end := skipBlockText(data, lineStart, i)
			line += bytes.Count(data[i:end], []byte("\n"))
			i, lineStart, start = end-1, end, true
		case c == '#' && (i == lineStart || data[i-1] == ' ' || data[i-1] == '\t'):
			for i+1 < len(data) && data[i+1] != '\n' {
				i++
			}
		case (c == '"' || c == '\'') && start:
			opened := place(i)
			end := closingQuote(data, i)
			if end < 0 {
				return opened, true
			}
			rest := data[end+1:]
			lines := bytes.Count(data[i:end], []byte("\n"))
			if lines > 0 {
				line += lines
				lineStart = i + bytes.LastIndexByte(data[i:end], '\n') + 1
			}
			if len(rest) > 0 && !bytes.ContainsRune([]byte(" \t\r\n,]}:"), rune(rest[0])) || plainFollows(rest) {
				if lines > 0 {
					return opened, true
				}
				stray := place(end + 1)
				stray.inside = true
				return stray, true
			}
			i, start = end, false
		case c == ' ' || c == '\t':
		case c == '[' || c == '{' || c == ',':
			start = true
		case c == ':' || c == '-' || c == '?':
			start = i+1 >= len(data) || data[i+1] == ' ' || data[i+1] == '\t' || data[i+1] == '\n'
		default:
			start = false
		}
	}
	return brokenQuote{}, false
}

// closingQuote is the index of the quote that closes the one at i, or -1.
func closingQuote(data []byte, i int) int {
	quote := data[i]
	for i++; i < len(data); i++ {
		switch {
		case data[i] == '\\' && quote == '"':
			i++
		case data[i] == quote && quote == '\'' && i+1 < len(data) && data[i+1] == quote:
			i++
		case data[i] == quote:
			return i
		}
	}
	return -1
}

// plainFollows reports whether more text stands behind a closing quote, after some space: "x" y.
func plainFollows(rest []byte) bool {
	rest, _, _ = bytes.Cut(rest, []byte("\n"))
	rest = bytes.TrimSpace(rest)
	return len(rest) > 0 && !bytes.ContainsRune([]byte("#,]}:"), rune(rest[0]))
}

// skipBlockText is where the next line to look at begins: behind the block of text that the line from..end may begin.
func skipBlockText(data []byte, from, end int) int {
	next := end + 1
	line := data[from:end]
	if !blockText.Match(bytes.TrimRight(line, "\r")) {
		return next
	}
	indent := len(line) - len(bytes.TrimLeft(line, " "))
	for next < len(data) {
		body, _, _ := bytes.Cut(data[next:], []byte("\n"))
		if len(bytes.TrimSpace(body)) > 0 && len(body)-len(bytes.TrimLeft(body, " ")) <= indent {
			break
		}
		next = min(next+len(body)+1, len(data))
	}
	return next
}
