# Policies that use the language widely, for a comparison with Open Policy Agent.
#
# `#: NAME` begins one, without its first lines (`package blob.policy`, and `p`, the predicate of facts). `#! NAME` begins
# one that uses what skep does not have, and so denies.

#: allow_always
allow := true
#: allow_never
allow := false
#: nothing
x := 1
#: default_false
default allow := false
allow if p.n > 1
#: default_true
default allow := true
allow := false if p.n > 100
#: deny_set
allow := true
deny contains "negative" if p.n < 0
deny contains sprintf("n is %v", [p.n]) if p.n > 5
#: deny_array
allow := true
deny := [s | some s in p.t; startswith(s, "r")]
#: deny_object
allow := true
deny[s] := "bad" if { some s in p.t; s == "red" }
#: deny_numbers
allow := true
deny contains x if { some x in p.l; x > 6 }
#: deny_boolean
allow := true
default deny := false
deny if p.n == 0
#: allow_is_text
allow := "true"
#: allow_is_number
allow := 1
#: deny_is_text
allow := true
deny := "no" if p.n > 2
#: deny_only
deny contains "zero" if p.n == 0
#: else_chain
allow := true if { p.n > 10 } else := true if { p.n < 0 } else := false
#: else_function
size(x) := "large" if { x > 10 } else := "small" if { x > 0 } else := "none"
allow if size(p.n) in {"large", "none"}
#: several_bodies
allow if p.n == 1
allow if p.n == 3
allow if p.s == "release"
#: some_in
allow if { some x in p.l; x == 3 }
#: some_key_value
allow if { some k, v in p.o; k == "a"; v == 1 }
#: some_index
allow if { some i; p.l[i] == 2; i > 0 }
#: wildcard
allow if p.t[_] == "blue"
#: two_wildcards
allow if input.attestations[_].subject[_].digest.sha256 == trim_prefix(input.manifest.digest, "sha256:")
#: every_array
allow if every x in p.l { x > 0 }
#: every_object
allow if every k, v in p.o { v >= 1; k != "z" }
#: every_empty
allow if every x in [] { x == 1 }
#: every_nested
allow if every a in input.attestations { every s in a.subject { count(s.digest) > 0 } }
#: not_in
allow if not 3 in p.l
#: not_defined
allow if not p.missing
#: not_rule
bad if p.n < 0
allow if not bad
#: not_call
allow if not startswith(p.s, "x")
#: not_call_with
allow if not startswith(input.s, "x") with input as {"t": p.n}
#: not_call_in_braces
allow if {
	p.n > 0
	not startswith(p.missing, "x"); not endswith(p.s, "y")
}
#: not_nested_call
level("release") := 2
allow if not level(p.s) > 2
#: not_equal
allow if not p.missing == 1
#: not_equal_call
level("release") := 2
allow if not level(p.s) == 1
#: not_unequal
allow if not p.missing != 1
#: not_own_function
is_bad(x) if x == "red"
allow if not is_bad(p.t[1])
#: not_of_rule
known := {s | some s in p.t}
allow if not p.s in known
#: not_of_undefined_rule
word := p.s if p.n > 2
allow if not startswith(word, "x")
#: not_any
allow if not startswith(p.t[_], "r")
#: not_any_by_name
allow if not startswith(p.t[i], "r")
#: not_any_elsewhere
allow if { p.t[i] == "blue"; not startswith(p.t[i], "r") }
#: not_with_comprehension
allow if not count([s | some s in p.t; startswith(s, "r")]) > 0
#: not_imported
import input.nothing as n
allow if not startswith(n, "x")
#: not_argument
f(x) if not startswith(x, "r")
allow if f(p.s)
#: not_every_value
allow if every s in p.t { not startswith(s, "x"); not endswith(s, p.s) }
#: not_some
allow if { some s; p.t[s]; not startswith(p.t[s], "r") }
#: not_rule_with_brackets
allow if not count(by["red"]) > 3
by[s] := [s] if some s in p.t
#: not_in_comprehension
allow if count([a | some a in input.attestations; not startswith(a.predicate.s, "r")]) > 0
#: not_in_not
allow if not count([s | some s in p.t; not startswith(p.o[s], "x")]) > 0
#: not_in_else
allow := false if not startswith(p.s, "r") else := true if not endswith(p.s, "x")
#: not_in_every
allow if every a in input.attestations { not startswith(a.predicate.s, "r") }
#: not_arithmetic
allow if not p.n + p.missing
#: not_array
allow if not [p.missing] == [1]
#: not_computed
allow if not p.o[lower(p.missing)]
#: not_text_at_the_end
allow if not concat("", [p.s, "x"]) == concat("", ["release", "x"])
#: deny_not
allow := true
deny contains "not red" if not startswith(p.t[0], "red")
#: in_tuple
allow if ("a", 1) in p.o
#: in_keys
allow if "b" in object.keys(p.o)
#: array_comprehension
allow if count([x | some x in p.l; x > 1]) > 1
#: set_comprehension
allow if count({x | some x in p.l}) < count(p.l)
#: object_comprehension
m := {k: v + 1 | some k, v in p.o}
allow if m.a == 2
#: nested_comprehension
allow if sum([count(y) | some y in [[z | some z in p.l; z > x] | some x in p.l]]) > 3
#: with_input
wanted if input.n == 1
allow if wanted with input as {"n": p.n}
#: with_input_path
wanted if input.manifest.mediaType == "text/plain"
allow if not wanted with input.manifest.mediaType as "text/html"
#: with_data
allow if data.levels[p.s] == 1 with data.levels as {"release": 1, "beta": 2}
#: with_function
f(x) := x + 1
g(x) := 0
allow if { f(1) == 0 with f as g; f(1) == 2 }
#: with_builtin
allow if { count(p.l) == 0 with count as 0 }
#: with_now
allow if { time.now_ns() == 5 with time.now_ns as 5 }
#: union
allow if {1, 2} | {x | some x in p.l} == {1, 2, 3}
#: intersection
allow if count({1, 2, 3} & {x | some x in p.l}) == 3
#: difference
allow if {x | some x in p.l} - {1, 2, 3} == set()
#: set_of_sets
allow if count(union({{1}, {2, 3}, {x | some x in p.l}})) > 3
allow if count(intersection({{1, 2}, {x | some x in p.l}})) == 2
#: set_membership
s := {"red", "green"}
allow if s[p.t[0]]
#: object_get
allow if object.get(p.o, "a", 0) == 1
#: object_get_path
allow if object.get(p, ["deep", "er"], "none") == "found"
#: object_remove
allow if object.remove(p.o, ["a"]) == {"b": 2}
#: object_filter
allow if object.filter(p.o, {"a"}) == {"a": 1}
#: object_union
allow if object.union(p.o, {"a": 5}).a == 5
#: object_union_n
allow if object.union_n([p.o, {"x": {"y": 1}}, {"x": {"z": 2}}]).x == {"y": 1, "z": 2}
#: object_subset
allow if object.subset(p.o, {"a": 1})
#: object_keys
allow if object.keys(p.o) == {"a", "b"}
#: json_filter
allow if json.filter(p, ["o/a"]) == {"o": {"a": 1}}
#: json_remove
allow if json.remove(p.o, ["a"]) == {"b": 2}
#: json_unmarshal
allow if json.unmarshal(p.j).ok == true
#: json_is_valid
allow if json.is_valid(p.j)
#: json_marshal
allow if json.marshal(p.o) == "{\"a\":1,\"b\":2}"
#: yaml
allow if yaml.unmarshal("a: [1, 2]\nb: text").a[1] == 2
#: yaml_is_valid
allow if yaml.is_valid(p.j)
#: array_concat
allow if array.concat(p.l, [9])[count(p.l)] == 9
#: array_slice
allow if array.slice(p.l, 0, 2) == [1, 2]
#: array_reverse
allow if array.reverse(p.l)[0] == 3
#: sort
allow if sort(p.l) == p.l
#: max_min
allow if { max(p.l) == 3; min(p.l) == 1 }
#: sum_product
allow if { sum(p.l) == 6; product(p.l) == 6 }
#: count_text
allow if count(p.s) == 7
#: numbers_range
allow if numbers.range(1, 3) == p.l
#: numbers_range_down
allow if numbers.range(3, 1) == array.reverse(p.l)
#: numbers_range_step
allow if numbers.range_step(1, p.n, 2)[1] == 3
#: arithmetic
allow if (p.n * 3 - 1) / 2 == 4
#: modulo
allow if p.n % 2 == 1
#: division
allow if 10 / p.n > 3
#: rounding
allow if { p.n != 0; round(p.n + 0.4) == p.n; ceil(p.n - 0.5) == p.n; floor(p.n + 0.5) == p.n }
#: abs
allow if abs(p.n) == 5
#: bits
allow if { bits.and(7, 3) == 3; bits.or(4, 1) == 5; bits.xor(5, 1) == 4; bits.lsh(1, 4) == 16; bits.rsh(16, 2) == 4; bits.negate(1) == -2 }
#: large_numbers
allow if { p.n > 2; 9007199254740993 + 2 > 9007199254740992 + 2; 12345678901234567890 * 10 == 123456789012345678900 }
#: compare_kinds
allow if p.n < "text"
#: compare_collections
allow if p.l <= [1, 2, 3]
#: null
allow if p.nothing == null
#: type_name
allow if type_name(p.n) == "number"
deny contains t if { t := type_name(p.l); t != "array" }
#: is_kind
allow if { is_number(p.n); is_string(p.s); is_array(p.l); is_object(p.o); not is_null(p.n); not is_boolean(p.s); is_set({1}) }
#: to_number
allow if to_number(p.v[0]) >= 1
#: to_number_text
allow if to_number("1.5e1") == 15
#: startswith
allow if startswith(p.s, "rel")
#: endswith
allow if endswith(p.s, "ease")
#: contains
allow if contains(p.s, "ele")
#: indexof
allow if indexof(p.s, "e") == 1
#: indexof_n
allow if indexof_n(p.s, "e") == [1, 3, 6]
#: lower_upper
allow if { upper(p.s) == "RELEASE"; lower("RELEASE") == p.s }
#: replace
allow if replace(p.s, "e", "") == "rlas"
#: replace_n
allow if strings.replace_n({"<": "&lt;", ">": "&gt;"}, "<b>") == "&lt;b&gt;"
#: split
allow if count(split(p.s, "e")) == 4
#: split_join
allow if concat("-", split("a.b.c", ".")) == "a-b-c"
#: concat_set
allow if concat(",", {x | some x in p.t}) == "blue,green,red"
#: substring
allow if substring(p.s, 0, 3) == "rel"
#: substring_rest
allow if substring(p.s, 2, -1) == "lease"
#: trims
allow if { trim("xxaxx", "x") == "a"; trim_left("xxa", "x") == "a"; trim_right("axx", "x") == "a"; trim_space(" a ") == "a"; trim_suffix(p.s, "ease") == "rel"; trim_prefix("va", "v") == "a" }
#: reverse
allow if strings.reverse(p.s) == "esaeler"
#: any_prefix
allow if strings.any_prefix_match(p.s, ["x", "rel"])
#: any_suffix
allow if strings.any_suffix_match(p.t, {"ed", "zz"})
#: count_in_text
allow if strings.count(p.s, "e") == 3
#: format_int
allow if format_int(p.n, 16) == "5"
#: format_binary
allow if format_int(5, 2) == "101"
#: sprintf
allow if sprintf("%s-%d-%v", [p.s, p.n, p.t[0]]) == "release-5-red"
#: sprintf_forms
allow if sprintf("%05d|%x|%.2f|%5s|%v|%t", [42, 255, 1.5, "ab", [1, "x"], true]) == "00042|ff|1.50|   ab|[1, \"x\"]|true"
#: sprintf_quote
allow if sprintf("%q", [p.s]) == "\"release\""
#: unicode
allow if count("grüße") == 5
deny contains "long" if count(p.s) > 20
#: unicode_case
allow if upper("ß") == "SS"
#: raw_text
allow if regex.match(`^[a-z]+$`, p.s)
#: regex_match
allow if regex.match("^v?[0-9]+\\.[0-9]+", p.v)
#: regex_invalid
allow if regex.match("(", p.s)
#: regex_is_valid
allow if { regex.is_valid("a+"); not regex.is_valid("(") }
#: regex_find
allow if regex.find_n("[aeiou]", p.s, 2) == ["e", "e"]
#: regex_find_all
allow if count(regex.find_n("[aeiou]", p.s, -1)) == 4
#: regex_replace
allow if regex.replace(p.s, "e(.)", "<$1>") == "r<l><a>se"
#: regex_split
allow if regex.split("[.-]", "a.b-c") == ["a", "b", "c"]
#! regex_template
allow if regex.template_match("urn:{.*}:x", "urn:abc:x", "{", "}")
#: glob_match
allow if glob.match("registry.example/*/site:*", ["/"], input.manifest.reference)
#: glob_match_all
allow if glob.match("**.example.com", ["."], "a.b.example.com")
#: glob_alternatives
allow if glob.match("{rel*,beta}", [], p.s)
#: glob_quote
allow if glob.quote_meta("a*b") == "a\\*b"
#: semver_compare
allow if semver.compare(p.v, "1.2.0") >= 0
#: semver_order
allow if { semver.compare("1.0.0-alpha", "1.0.0") == -1; semver.compare("1.0.0+a", "1.0.0") == 0 }
#: semver_is_valid
allow if semver.is_valid(p.v)
#: time_parse
allow if time.parse_rfc3339_ns(p.at) > time.parse_rfc3339_ns("2026-01-01T00:00:00Z")
#: time_date
allow if time.date(time.parse_rfc3339_ns("2026-11-21T12:30:00Z")) == [2026, 11, 21]
#: time_clock
allow if time.clock(time.parse_rfc3339_ns("2026-11-21T12:30:05Z")) == [12, 30, 5]
#: time_zone
allow if time.clock([time.parse_rfc3339_ns("2026-11-21T12:30:05Z"), "Europe/Berlin"]) == [13, 30, 5]
#: time_weekday
allow if time.weekday(time.parse_rfc3339_ns(p.at)) in {"Saturday", "Sunday"}
#! time_add
allow if time.add_date(time.parse_rfc3339_ns("2026-01-31T00:00:00Z"), 0, 1, 0) == time.parse_rfc3339_ns("2026-03-03T00:00:00Z")
#: time_diff
allow if time.diff(time.parse_rfc3339_ns("2026-11-21T00:00:00Z"), time.parse_rfc3339_ns("2025-10-20T00:00:00Z")) == [1, 1, 1, 0, 0, 0]
#: time_duration
allow if time.parse_duration_ns("1h30m") == 5400000000000
#: time_parse_ns
allow if time.parse_ns("2006-01-02", "2026-11-21") == time.parse_rfc3339_ns("2026-11-21T00:00:00Z")
#: time_format
allow if time.format(time.parse_rfc3339_ns("2026-11-21T12:30:05Z")) == "2026-11-21T12:30:05Z"
#: time_now
allow if time.now_ns() > time.parse_rfc3339_ns("2020-01-01T00:00:00Z")
#: cidr_contains
allow if net.cidr_contains("10.0.0.0/8", p.ip)
#: cidr_contains_cidr
allow if net.cidr_contains("10.0.0.0/8", "10.1.0.0/16")
#: cidr_v6
allow if net.cidr_contains("2001:db8::/32", "2001:db8::1")
#: cidr_is_valid
allow if net.cidr_is_valid(concat("", [p.ip, "/24"]))
#: base64
allow if base64.decode(p.b) == "hello"
#: base64_encode
allow if base64.encode(p.s) == "cmVsZWFzZQ=="
#: base64_is_valid
allow if base64.is_valid(p.b)
#: base64url
allow if base64url.encode_no_pad("a?b>") == "YT9iPg"
#: hex
allow if hex.encode(p.s) == "72656c65617365"
#: hex_decode
allow if hex.decode("6869") == "hi"
#: urlquery
allow if urlquery.encode("a b&c") == "a+b%26c"
#: urlquery_decode
allow if urlquery.decode("a%20b+c") == "a b c"
#: urlquery_object
allow if urlquery.encode_object({"a": "1", "b": ["2", "3"]}) == "a=1&b=2&b=3"
#: urlquery_decode_object
allow if urlquery.decode_object("a=1&b=2&b=3") == {"a": ["1"], "b": ["2", "3"]}
#: units_bytes
allow if units.parse_bytes("10KiB") == 10240
#: units
allow if units.parse("1.5G") == 1500000000
#: walk
allow if { walk(p, [path, value]); value == "found"; count(path) == 2 }
#: walk_count
allow if count([1 | walk(p.o, _)]) == 3
#: partial_set
good contains x if { some x in p.l; x < 3 }
allow if count(good) == 2
#: partial_object
by[s] := count(s) if some s in p.t
allow if by.red == 3
#: partial_nested
by[a.predicateType][i] := a if some i, a in input.attestations
allow if count(by["https://example.com/facts/v1"]) == 1
#: nested_rule_names
checks.number := true if p.n > 0
checks.text := true if p.s != ""
allow if { checks.number; checks.text }
#: conflict
value := 1 if p.n > 0
value := 2 if p.n > 3
allow if value == 1
#: function
double(x) := 2 * x
allow if double(p.n) == 10
#: function_bodies
kind(x) := "big" if x > 4
kind(x) := "small" if x <= 4
allow if kind(p.n) == "big"
#: function_patterns
word(1) := "one"
word(3) := "three"
allow if word(p.n) == "three"
#: function_default
default f(_) := false
f(x) if x > 4
allow if f(p.n)
#: function_boolean
is_release(s) if s == "release"
is_release(s) if startswith(s, "v")
allow if is_release(p.s)
#: function_destructuring
first([x, _]) := x
allow if first([p.n, 1]) == 5
#: function_conflict
pick(x) := 1 if x > 0
pick(x) := 2 if x > 4
allow if pick(p.n) == 1
#: function_of_function
f(x) := g(x) + 1
g(x) := x * 2
allow if f(p.n) == 11
#: unify
allow if { [x, y, 3] = p.l; x + y == 3 }
#: unify_object
allow if { {"a": x, "b": y} = p.o; x < y }
#: destructure
allow if { [a, b, c] := p.l; a + b == c }
#: ignored
allow if { [_, b, _] := p.l; b == 2 }
#: order_of_statements
allow if { y == 10; x := p.n; y := x * 2 }
#: deep_reference
allow if p.deep.er == "found"
#: bracket_reference
allow if p["deep"]["er"] == "found"
#: computed_reference
k := "er"
allow if p.deep[k] == "found"
#: undefined_arithmetic
allow if p.missing + 1 == 2
#: undefined_in_array
allow if count([p.missing]) == 0
#: import_input
import input.manifest as m
allow if startswith(m.digest, "sha256:")
#: import_data
import data.blob.policy.helper as h
helper := 5
allow if h == p.n
#: metadata
   # METADATA
   # title: a rule
   # scope: rule
allow if p.n == 5
#: comments
allow if { # the number
	p.n == 5 # is five
}
#: multiline
allow if {
	p.n > 0
	p.n < 10
}
#: object_keys_of_kinds
m := {1: "a", "1": "b", [1]: "c"}
allow if { m[1] == "a"; m["1"] == "b"; m[[1]] == "c" }
#: set_of_objects
allow if {"a": 1} in {{"a": 1}, {"a": 2}}
#: negative_index
allow if p.l[-1] == 3
#: beyond_the_end
allow if p.l[3]
#: text_index
allow if p.s[0] == "r"
#: boolean_rule
a if true
b := false
allow if { a; not b }
#: predicate_types
types := {a.predicateType | some a in input.attestations}
allow if types == {"https://example.com/facts/v1"}
#: slsa_builder
allow if {
	some a in input.attestations
	a.predicateType == "https://slsa.dev/provenance/v1"
	a.predicate.runDetails.builder.id == "https://builder.example/v1"
}
#: tests_failed
allow := true
deny contains msg if {
	some a in input.attestations
	a.predicateType == "https://example.com/tests/v1"
	a.predicate.failed > 0
	msg := sprintf("%d tests failed: %s", [a.predicate.failed, concat(", ", a.predicate.names)])
}
#: no_attestations
allow if count(input.attestations) == 0
#: is_signed
allow if count(input.signatures) > 0
#: signed_twice
keys := {s.key | some s in input.signatures}
allow if count(keys) >= 2
#: signed_by_person
allow if { some s in input.signatures; endswith(s.identity, "@acme.example") }
#: attested_by_signer
allow if { some s in input.signatures; some a in input.attestations; s.key == a.signer.key }
#: signed_in_time
allow if { some s in input.signatures; some t in s.times; time.parse_rfc3339_ns(t.time) > 0; t.source == "log" }
#: complete
allow if input.complete
#: media_type
allow if input.manifest.mediaType == "application/vnd.oci.image.index.v1+json"
#: reference_parts
allow if { [repo, tag] := split(input.manifest.reference, ":"); tag == "v1"; endswith(repo, "/site") }
#: data_is_empty
allow if not data.levels
#: print
allow if { print("n", p.n); p.n == 5 }
#: syntax_error
allow if {
#: version_0
allow { p.n == 5 }
#: unknown_function
allow := true
deny contains "x" if { p.n == 12345; startwith(p.s, "x") }
#: unknown_function_in_front
allow if starts_with(p.s, "r")
#: wrong_number_of_arguments
allow := true
deny contains "x" if { p.n == 12345; startswith(p.s) }
#: unknown_variable
allow if nothing == 1
#: unsafe_variable
allow if not x == 1
#: recursion_of_rules
a if b
b if a
allow if not a
#: recursion_of_functions
f(x) := g(x) + 1
g(x) := f(x)
allow := true
deny contains "x" if { p.n == 12345; f(1) }
#: division_by_zero
allow if 1 / (p.n - p.n) == 1
#: builtin_error_in_deny
allow := true
deny contains "x" if to_number(p.s) > 5
#: builtin_error_in_not
allow if not time.parse_rfc3339_ns(p.at) > 0
#: builtin_wrong_kind
allow if count(p.n) == 1
#: builtin_wrong_kind_in_deny
allow := true
deny contains "upper" if upper(p.n) == "X"
#: assigned_twice
allow if { x := 1; x := 2; x == 2 }
#: keyword_as_name
if := 1
allow := true
#: no_if
allow p.n == 5
#: two_defaults
default allow := false
default allow := true
#: function_and_rule
f := 1
f(x) := x
allow := true
#! crypto
allow if crypto.sha256("a") == "ca978112ca1bbdcafac231b39a23dc4da786eff8147c4fcc5fb1a0d6d1a9c1e1"
#! crypto_in_deny
allow := true
deny contains "x" if { p.n == 12345; crypto.md5("a") == "b" }
#! http
allow := true
deny contains "x" if { p.n == 12345; http.send({"method": "GET", "url": "http://127.0.0.1:1"}) }
#! runtime
allow if opa.runtime().version
#! random
allow if rand.intn("a", 5) >= 0
#! token
allow if io.jwt.decode("a.b.c")
#! lookup
allow if net.lookup_ip_addr("localhost")
#! expand
allow if count(net.cidr_expand("10.0.0.0/30")) == 4
#! reachable
allow if count(graph.reachable({"a": ["b"], "b": []}, {"a"})) == 2
#! uuid
allow if uuid.rfc4122("a")
#! patch
allow if json.patch({"a": 1}, [{"op": "add", "path": "/b", "value": 2}]).b == 2
#! endless
allow if count([1 | some a in numbers.range(1, 3000); some b in numbers.range(1, 3000); a + b > 0]) > 0
#! enormous_range
allow if count(numbers.range(1, 1000000000000)) > 0
#! enormous_width
allow if sprintf("%999999999d", [1]) != ""
#! enormous_shift
allow if bits.lsh(1, 4000000000) > 0
#! enormous_number
allow if units.parse("1e1000000000") > 0
#! enormous_literal
allow if 1e1000000000 > 0
#! enormous_text
allow if {
	a := concat("", [sprintf("%d", [x]) | some x in numbers.range(1, 10000)])
	replace(a, "1", a) != ""
}
