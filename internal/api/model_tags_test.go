package api_test

import (
	"slices"
	"strings"
)

// maxTags and maxAppTags are limits of the contract (spec/timpush-api.md, 5).
const (
	maxTags    = 100
	maxAppTags = 1000
)

// ofDevices reports whether a tag belongs to RegistrationIDs; known is false for
// one that nobody has.
func (m *model) ofDevices(tag string) (devices, known bool) {
	for _, u := range m.users {
		if slices.Contains(u.tags, tag) {
			return u.device, true
		}
	}
	return false, false
}

// tags counts the different tags.
func (m *model) tags() int {
	seen := map[string]bool{}
	for _, u := range m.users {
		for _, tag := range u.tags {
			seen[tag] = true
		}
	}
	return len(seen)
}

// freed counts the tags of a user that nobody else has, and that the user has no more.
func (m *model) freed(id string, had, tags []string) (n int) {
	for _, tag := range had {
		alone := !slices.Contains(tags, tag)
		for other, u := range m.users {
			alone = alone && (other == id || !slices.Contains(u.tags, tag))
		}
		if alone {
			n++
		}
	}
	return n
}

func (m *model) changeTags(body map[string]any, add, legacy bool) map[string]any {
	list, ok := body["UserTags"].([]any)
	check(ok && len(list) > 0, 90001)
	replace := false
	if add && !legacy { // the older family has no Replace
		n, ok := body["Replace"].(float64)
		check(ok && (n == 0 || n == 1) || body["Replace"] == nil, 90001)
		replace = n == 1
	}
	for _, e := range list {
		entry, ok := e.(map[string]any)
		check(ok || e == nil, 90001)
		_, ok = entry["To_Account"].(string)
		check(ok, 90001)
		tags, ok := entry["Tags"].([]any)
		check(ok, 90001)
		for _, tag := range tags {
			_, ok := tag.(string)
			check(ok, 90001)
		}
	}
	check(len(list) <= 100, 90018)
	most := 10
	if replace {
		most = maxTags
	}
	for _, e := range list {
		tags := e.(map[string]any)["Tags"].([]any)
		check(!add || len(tags) <= most, 90032)
		for _, tag := range tags {
			check(!add || tag != "", 90040)
			check(!add || len(tag.(string)) <= 50, 90020)
		}
	}
	var failed []any
	for _, e := range list {
		entry := e.(map[string]any)
		id := entry["To_Account"].(string)
		var tags []string
		for _, tag := range entry["Tags"].([]any) {
			tags = append(tags, tag.(string))
		}
		if code := m.tagOne(id, tags, add, replace, legacy); code != 0 {
			failed = append(failed, map[string]any{"To_Account": id, "ErrorCode": float64(code)})
		}
	}
	return errorList(map[string]any{}, failed, legacy)
}

func (m *model) tagOne(id string, tags []string, add, replace, legacy bool) int {
	u := m.users[id]
	switch {
	case u == nil && (!add || !m.create || !goodID(id)):
		return 70107
	case u == nil:
		u = &modelUser{}
	case u.device && legacy:
		return 70107
	}
	next := *u
	switch {
	case !add:
		next.tags = slices.DeleteFunc(slices.Clone(u.tags), func(tag string) bool { return slices.Contains(tags, tag) })
	default:
		if next.tags = slices.Clone(u.tags); replace {
			next.tags = nil
		}
		fresh := map[string]bool{}
		for _, tag := range tags {
			devices, known := m.ofDevices(tag)
			if known && devices != u.device {
				return 90035
			}
			if !known {
				fresh[tag] = true
			}
			next.tags = append(next.tags, tag)
		}
		slices.Sort(next.tags)
		next.tags = slices.Compact(next.tags)
		if len(next.tags) > maxTags || len(fresh) > 0 && !legacy && m.tags()+len(fresh)-m.freed(id, u.tags, next.tags) > m.most {
			return 90032
		}
	}
	m.users[id] = &next
	return 0
}

func (m *model) clearTags(body map[string]any, legacy bool) map[string]any {
	var failed []any
	for _, id := range accountList(body) {
		u := m.users[id]
		if u == nil || u.device && legacy {
			failed = append(failed, map[string]any{"To_Account": id, "ErrorCode": 70107.0})
			continue
		}
		next := *u
		next.tags = nil
		m.users[id] = &next
	}
	return errorList(map[string]any{}, failed, legacy)
}

func (m *model) getTags(body map[string]any, legacy bool) map[string]any {
	found, failed := []any{}, []any{}
	for _, id := range accountList(body) {
		u := m.users[id]
		if u == nil || u.device && legacy {
			failed = append(failed, map[string]any{"To_Account": id, "ErrorCode": 70107.0})
			continue
		}
		tags := []any{}
		for _, tag := range u.tags {
			tags = append(tags, tag)
		}
		found = append(found, map[string]any{"To_Account": id, "Tags": tags})
	}
	return errorList(map[string]any{"UserTags": found}, failed, legacy)
}

// accountList is the member To_Account of a request that reads.
func accountList(body map[string]any) (ids []string) {
	list, ok := body["To_Account"].([]any)
	check(ok && len(list) > 0, 90001)
	for _, e := range list {
		id, ok := e.(string)
		check(ok, 90001)
		ids = append(ids, id)
	}
	check(len(list) <= 100, 90018)
	return ids
}

// A question is a Where expression, and the same as a function.
type question struct {
	where   string
	of      func(u *modelUser) bool
	users   bool // it names something of UserIDs
	devices bool // and of RegistrationIDs
}

// ask makes a random expression over what the model has.
func (g generator) ask(m *model, depth int) question {
	if depth > 0 && g.IntN(3) > 0 {
		a, b := g.ask(m, depth-1), g.ask(m, depth-1)
		both := question{users: a.users || b.users, devices: a.devices || b.devices}
		switch g.IntN(3) {
		case 0:
			both.where, both.of = "("+a.where+" && "+b.where+")", func(u *modelUser) bool { return a.of(u) && b.of(u) }
		case 1:
			both.where, both.of = "("+a.where+" or "+b.where+")", func(u *modelUser) bool { return a.of(u) || b.of(u) }
		default:
			a.where, both = "!("+a.where+")", a
			both = question{a.where, func(u *modelUser) bool { return !a.of(u) }, a.users, a.devices}
		}
		return both
	}
	slot := g.IntN(10)
	if g.IntN(2) == 0 || m.names[slot] == "" {
		tag := g.pick("beta", "muted", "vip", "日本", `"\`, "t1", "t2", "nobody's")
		devices, known := m.ofDevices(tag)
		return question{"tag(" + quoted(tag) + ")", func(u *modelUser) bool { return slices.Contains(u.tags, tag) }, known && !devices, known && devices}
	}
	q := question{users: m.kinds[slot] == 0, devices: m.kinds[slot] == 1}
	name := "attr(" + quoted(m.names[slot]) + ")"
	v, w := g.pick("a", "b", "日本"), g.pick("a", "b", `"\`, "x")
	switch g.IntN(4) {
	case 0:
		q.where, q.of = "has("+quoted(m.names[slot])+")", func(u *modelUser) bool { return u.values[slot] != "" }
	case 1:
		q.where, q.of = name+" == "+quoted(v), func(u *modelUser) bool { return u.values[slot] == v }
	case 2:
		q.where, q.of = name+" != "+quoted(v), func(u *modelUser) bool { return u.values[slot] != v }
	default:
		q.where = name + " in [" + quoted(v) + "," + quoted(w) + "]"
		q.of = func(u *modelUser) bool { return u.values[slot] == v || u.values[slot] == w }
	}
	return q
}

func quoted(s string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(s) + `"`
}
