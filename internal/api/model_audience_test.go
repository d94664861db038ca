package api_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
)

// audienceAnswer is what the commands about audiences answer.
type audienceAnswer struct {
	ErrorCode int
	Count     int
	Sample    []string
	Clauses   []struct {
		Clause string
		Count  int
		Match  bool
	}
	Match    bool
	Accounts []string
	Next     string
	Total    int
	Values   []struct {
		Value string
		Count int
	}
	Tags json.RawMessage // of list_tags objects, of explain_audience texts
}

type tagCount struct {
	Tag         string
	Count       int
	AccountType int
}

func (a audienceAnswer) tags(t *testing.T) (tags []tagCount) {
	t.Helper()
	if err := json.Unmarshal(a.Tags, &tags); err != nil {
		t.Fatal(err)
	}
	return tags
}

func (n *node) audience(t *testing.T, command string, body map[string]any) (a audienceAnswer) {
	t.Helper()
	text, err := json.Marshal(body)
	if err != nil {
		t.Fatal(err)
	}
	got := n.post("tidings/"+command, string(text))
	if err := json.Unmarshal([]byte(got.raw), &a); err != nil {
		t.Fatalf("%s %s: %s: %v", command, text, got.raw, err)
	}
	return a
}

// audit asks the server a random question in all ways, which must agree with the
// model and with each other.
func (m *model) audit(t *testing.T, n *node, g generator) {
	t.Helper()
	q := g.ask(m, 3)
	where := map[string]any{"Where": q.where}
	if g.IntN(3) == 0 {
		where["Where"], q = m.condition(g)
		where = map[string]any{"Condition": where["Where"]}
	}
	device := g.IntN(2) == 1
	with := func(more map[string]any) map[string]any {
		body := map[string]any{"AccountType": map[bool]int{true: 1}[device]}
		maps.Copy(body, where)
		maps.Copy(body, more)
		return body
	}
	a := n.audience(t, "estimate_audience", with(map[string]any{"Sample": 100}))
	if q.users && q.devices {
		if a.ErrorCode != 90035 {
			t.Fatalf("%v about both account types is answered %d", where, a.ErrorCode)
		}
		return
	}
	device = q.devices || device && !q.users
	var want []string
	of := 0
	for _, id := range slices.Sorted(maps.Keys(m.users)) {
		if u := m.users[id]; u.device == device {
			if of++; q.of(u) {
				want = append(want, id)
			}
		}
	}
	slices.Sort(a.Sample)
	if a.ErrorCode != 0 || a.Count != len(want) || !slices.Equal(a.Sample, want[:min(len(want), 100)]) {
		t.Fatalf("estimate of %v is %d and %q (code %d), want %q", where, a.Count, a.Sample, a.ErrorCode, want)
	}
	for _, c := range a.Clauses {
		one := n.audience(t, "estimate_audience", map[string]any{"Where": c.Clause, "AccountType": map[bool]int{true: 1}[device]})
		if one.ErrorCode != 0 || one.Count != c.Count {
			t.Fatalf("clause %s of %v has %d, on its own %d (code %d)", c.Clause, where, c.Count, one.Count, one.ErrorCode)
		}
	}
	for _, id := range append([]string{"u1", accountOf(device)}, want[:min(len(want), 2)]...) {
		x := n.audience(t, "explain_audience", with(map[string]any{"To_Account": id}))
		if m.users[id] == nil {
			if x.ErrorCode != 70107 {
				t.Fatalf("explaining %s, who does not exist, is answered %d", id, x.ErrorCode)
			}
			continue
		}
		all := m.users[id].device == device
		for _, c := range x.Clauses {
			all = all && c.Match
		}
		if x.ErrorCode != 0 || x.Match != slices.Contains(want, id) || x.Match != all {
			t.Fatalf("explain of %s in %v is %t (code %d, all clauses %t), want %q", id, where, x.Match, x.ErrorCode, all, want)
		}
	}
	var listed []string
	next := map[string]any{"Limit": 3}
	for {
		page := n.audience(t, "list_audience", with(next))
		if listed = append(listed, page.Accounts...); page.ErrorCode != 0 || len(page.Accounts) > 3 {
			t.Fatalf("a page of %v has %q (code %d)", where, page.Accounts, page.ErrorCode)
		}
		if page.Next == "" {
			break
		}
		next = map[string]any{"Limit": 3, "Next": page.Next}
	}
	if slices.Sort(listed); !slices.Equal(listed, want) {
		t.Fatalf("the pages of %v have %q, want %q", where, listed, want)
	}
	if text, ok := where["Where"].(string); ok {
		not := n.audience(t, "estimate_audience", with(map[string]any{"Where": "!(" + text + ")"}))
		if not.Count != of-len(want) {
			t.Fatalf("of %d users %s selects %d and its opposite %d", of, text, len(want), not.Count)
		}
		other := g.ask(m, 2).where
		both := n.audience(t, "estimate_audience", with(map[string]any{"Where": "!(" + text + " && " + other + ")"}))
		either := n.audience(t, "estimate_audience", with(map[string]any{"Where": "!(" + text + ") || !(" + other + ")"}))
		if both.Count != either.Count || both.ErrorCode != either.ErrorCode {
			t.Fatalf("not (%s and %s) is %d, not the one or not the other %d", text, other, both.Count, either.Count)
		}
	}
	m.auditLists(t, n, g)
}

func accountOf(is bool) string {
	if is {
		return device
	}
	return admin
}

// condition makes a Condition of the contract, and the same as a function.
func (m *model) condition(g generator) (condition map[string]any, q question) {
	condition = map[string]any{}
	var parts []func(u *modelUser) bool
	list := func(name string, of func(u *modelUser, tags []string) bool, not ...string) []string {
		if g.IntN(2) == 0 {
			return nil
		}
		var tags []string
		for range 1 + g.IntN(3) {
			if tag := g.pick("beta", "muted", "vip", "t1", "t2", "t3", "nobody's"); !slices.Contains(not, tag) {
				tags = append(tags, tag)
				devices, known := m.ofDevices(tag)
				q.users, q.devices = q.users || known && !devices, q.devices || known && devices
			}
		}
		if len(tags) > 0 {
			condition[name] = tags
			parts = append(parts, func(u *modelUser) bool { return of(u, tags) })
		}
		return tags
	}
	has := func(u *modelUser) func(string) bool {
		return func(tag string) bool { return slices.Contains(u.tags, tag) }
	}
	lacks := func(u *modelUser) func(string) bool {
		return func(tag string) bool { return !slices.Contains(u.tags, tag) }
	}
	and := list("TagsAnd", func(u *modelUser, tags []string) bool { return !slices.ContainsFunc(tags, lacks(u)) })
	list("TagsOr", func(u *modelUser, tags []string) bool { return slices.ContainsFunc(tags, has(u)) }, and...)
	list("TagsNot", func(u *modelUser, tags []string) bool { return !slices.ContainsFunc(tags, has(u)) })
	if len(condition) == 0 {
		for _, name := range []string{"AttrsAnd", "AttrsOr"} {
			attrs := map[string]string{}
			for slot, attr := range m.names {
				if attr != "" && g.IntN(3) == 0 {
					attrs[attr] = g.pick("a", "b", "日本")
					q.users, q.devices = q.users || m.kinds[slot] == 0, q.devices || m.kinds[slot] == 1
				}
			}
			if len(attrs) == 0 {
				continue
			}
			condition[name] = attrs
			parts = append(parts, func(u *modelUser) bool {
				hits := 0
				for attr, v := range attrs {
					if u.values[slices.Index(m.names[:], attr)] == v {
						hits++
					}
				}
				return hits == len(attrs) || name == "AttrsOr" && hits > 0
			})
		}
	}
	q.of = func(u *modelUser) bool {
		return !slices.ContainsFunc(parts, func(part func(*modelUser) bool) bool { return !part(u) })
	}
	return condition, q
}

// auditLists compares the lists of tags and of an attribute's values.
func (m *model) auditLists(t *testing.T, n *node, g generator) {
	t.Helper()
	slot := g.IntN(10)
	tags, values := map[string]int{}, map[string]int{}
	for _, u := range m.users {
		for _, tag := range u.tags {
			tags[tag]++
		}
		if v := u.values[slot]; v != "" {
			values[v]++
		}
	}
	got := map[string]int{}
	a := n.audience(t, "list_tags", map[string]any{"Limit": 1000})
	for _, e := range a.tags(t) {
		got[e.Tag] = e.Count
		if devices, _ := m.ofDevices(e.Tag); devices != (e.AccountType == 1) {
			t.Fatalf("tag %q has account type %d", e.Tag, e.AccountType)
		}
	}
	if !maps.Equal(got, tags) || a.Total != len(tags) {
		t.Fatalf("the tags are %v, %d in all, want %v", got, a.Total, tags)
	}
	var top []string
	for _, e := range n.audience(t, "list_tags", map[string]any{"Limit": 2, "Prefix": "t"}).tags(t) {
		top = append(top, fmt.Sprint(e.Count))
	}
	var counts []int
	for tag, c := range tags {
		if strings.HasPrefix(tag, "t") {
			counts = append(counts, c)
		}
	}
	slices.Sort(counts)
	slices.Reverse(counts)
	if want := fmt.Sprint(counts[:min(2, len(counts))]); fmt.Sprint(top) != want {
		t.Fatalf("the top tags with t have %v users, want %s", top, want)
	}
	if m.names[slot] == "" {
		return
	}
	got = map[string]int{}
	a = n.audience(t, "list_attr_values", map[string]any{"Attr": m.names[slot], "Limit": 1000})
	for _, e := range a.Values {
		got[e.Value] = e.Count
	}
	if !maps.Equal(got, values) || a.Total != len(values) {
		t.Fatalf("the values of %s are %v, %d in all, want %v", m.names[slot], got, a.Total, values)
	}
}
