package secgroups

import (
	"fmt"
	"net/netip"
	"regexp"
	"strconv"
	"strings"

	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/cc"
	"github.com/fettle-gitops/fettle/reconcile/platform/cloudfoundry/sandbox/internal/tree"
)

var ruleFields = []string{"code", "description", "destination", "log", "ports", "protocol", "type"}

// checkRules notes what is wrong with the rules of a body. IPv6 and lists of destinations are switched off, as shipped.
func checkRules(b *cc.Body, v any) {
	rules, ok := v.([]any)
	if !ok {
		b.Add("Rules must be an array")
		return
	}
	for i, r := range rules {
		add := func(format string, a ...any) { b.Add("Rules[%d]: %s", i, fmt.Sprintf(format, a...)) }
		rule, ok := r.(tree.Obj)
		if !ok {
			add("must be an object")
			continue
		}
		checkRule(rule, add)
	}
}

const badDestination = "destination must be a valid CIDR, IP address, or IP address range"

func checkRule(rule tree.Obj, add func(string, ...any)) {
	var unknown []string
next:
	for _, f := range rule {
		for _, k := range ruleFields {
			if f.Key == k {
				continue next
			}
		}
		unknown = append(unknown, f.Key)
	}
	if unknown != nil {
		add("unknown field(s): %s", cc.Inspect(unknown))
	}
	protocol, _ := rule.Get("protocol").(string)
	switch protocol {
	case "tcp", "udp", "icmp", "icmpv6", "all":
	default:
		add("protocol must be 'tcp', 'udp', 'icmp', 'icmpv6' or 'all'")
	}
	switch d := rule.Get("destination").(type) {
	case nil:
		add(badDestination)
	case string:
		switch {
		case strings.ContainsAny(d, " \t\n\r\f\v"):
			add("destination must not contain whitespace")
		case strings.Contains(d, ","):
			add(badDestination)
		case d != "": // an empty text has no part to look at
			checkDestination(d, protocol, add)
		}
	default:
		add("destination must be a string")
	}
	if d := rule.Get("description"); !falsy(d) {
		if _, ok := d.(string); !ok {
			add("description must be a string")
		}
	}
	if l := rule.Get("log"); !falsy(l) && l != true {
		add("log must be a boolean")
	}
	switch protocol {
	case "tcp", "udp":
		ports := rule.Get("ports")
		if falsy(ports) {
			add("ports are required for protocols of type TCP and UDP")
		}
		if s, ok := ports.(string); !ok || !validPorts(s) {
			add("ports must be a valid single port, comma separated list of ports, or range or ports, formatted as a string")
		}
	case "icmp", "icmpv6":
		if protocol == "icmpv6" {
			add("icmpv6 cannot be used if enable_ipv6 is false")
		}
		for _, f := range []string{"code", "type"} {
			v := rule.Get(f)
			if falsy(v) {
				add("%s is required for protocols of type ICMP", f)
			}
			if n, ok := v.(int64); !ok || n < -1 || n > 255 {
				add("%s must be an integer between -1 and 255 (inclusive)", f)
			}
		}
	case "all":
		if !falsy(rule.Get("ports")) {
			add("ports are not allowed for protocols of type all")
		}
	}
}

func falsy(v any) bool { return v == nil || v == false }

func checkDestination(d, protocol string, add func(string, ...any)) {
	parts := strings.Split(strings.TrimRight(d, "-"), "-") // Ruby drops empty parts at the end
	zeros := false
	for _, p := range parts {
		zeros = zeros || leadingZeros(p)
	}
	if zeros {
		add("destination octets cannot contain leading zeros")
	}
	switch len(parts) {
	case 1:
		ip, ok := parseIP(parts[0], true)
		if !ok && !zeros {
			add(badDestination)
		}
		if ok && protocol == "icmpv6" && ip.Is4() {
			add("for protocol %q you cannot use IPv4 addresses", protocol)
		}
	case 2:
		from, ok1 := parseIP(parts[0], false)
		to, ok2 := parseIP(parts[1], false)
		if !ok1 || !ok2 {
			add("destination IP address range is invalid")
			return
		}
		if to.Less(from) {
			add("beginning of IP address range is numerically greater than the end of its range (range endpoints are inverted)")
		}
		if protocol == "icmpv6" {
			add("for protocol %q you cannot use IPv4 addresses", protocol)
		}
	default:
		add(badDestination)
	}
}

func leadingZeros(address string) bool {
	if !strings.Contains(address, ".") {
		return false
	}
	for octet := range strings.SplitSeq(address, ".") {
		octet, _, _ = strings.Cut(octet, "/")
		if len(octet) > 1 && octet[0] == '0' {
			return true
		}
	}
	return false
}

func parseIP(s string, prefix bool) (netip.Addr, bool) {
	if prefix && strings.Contains(s, "/") {
		address, mask, _ := strings.Cut(s, "/")
		a, err := netip.ParseAddr(address)
		if err != nil || !a.Is4() {
			return a, false
		}
		if bits, err := strconv.Atoi(mask); err == nil {
			return a, bits >= 0 && bits <= 32
		}
		m, err := netip.ParseAddr(mask) // a net mask in dotted form is one, too
		return a, err == nil && m.Is4()
	}
	a, err := netip.ParseAddr(s)
	return a, err == nil && a.Is4()
}

var (
	notPorts  = regexp.MustCompile(`[^\d\s\-,]`)
	portRange = regexp.MustCompile(`\A\s*(\d+)\s*-\s*(\d+)\s*\z`)
	onePort   = regexp.MustCompile(`\A\s*\d+\s*\z`)
)

// validPorts takes one port, a list, or one range; not a list with ranges.
func validPorts(s string) bool {
	if notPorts.MatchString(s) {
		return false
	}
	port := func(s string) (int, bool) {
		n, err := strconv.Atoi(strings.TrimSpace(s))
		return n, err == nil && n > 0 && n < 65536
	}
	if m := portRange.FindStringSubmatch(s); m != nil {
		from, ok1 := port(m[1])
		to, ok2 := port(m[2])
		return ok1 && ok2 && from < to
	}
	for p := range strings.SplitSeq(strings.TrimRight(s, ","), ",") {
		if _, ok := port(p); !onePort.MatchString(p) || !ok {
			return false
		}
	}
	return true
}
