package api_test

import (
	"maps"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"

	"tidings/internal/api"
)

// A generator makes random requests: mostly good, some with one thing wrong.
type generator struct{ *rand.Rand }

func (g generator) pick(of ...string) string { return of[g.IntN(len(of))] }

func (g generator) account() string {
	if g.IntN(20) == 0 {
		return g.pick("", " x", "用户", strings.Repeat("u", 33), strings.Repeat("u", 32), "a\u0000b", strings.Repeat("u", 70))
	}
	if g.IntN(8) == 0 {
		return g.pick(device, strings.ToLower(device), "administrator", "ops")
	}
	return "u" + strconv.Itoa(g.IntN(12))
}

func (g generator) attr() string {
	if g.IntN(60) == 0 {
		return g.pick("", "Sex", "shoe_size", strings.Repeat("x", 51), "build2")
	}
	return g.pick("sex", "city", "country", "build", "plan", "sex", "city")
}

func (g generator) value() any {
	if g.IntN(80) == 0 {
		return []any{"", strings.Repeat("é", 26), 5.0, nil, true}[g.IntN(5)]
	}
	return g.pick("a", "b", "日本", strings.Repeat("v", 50), `"\`, "\u2028")
}

func (g generator) list(f func() any) []any {
	n := 1 + g.IntN(6)
	switch g.IntN(40) {
	case 0:
		n = 0
	case 1:
		n = 100 + g.IntN(2)
	}
	list := make([]any, n)
	for i := range list {
		list[i] = f()
	}
	return list
}

func (g generator) attrs() any {
	if g.IntN(12) == 0 {
		return map[string]any{}
	}
	attrs := map[string]any{}
	for range 1 + g.IntN(3) {
		attrs[g.attr()] = g.value()
	}
	return attrs
}

// modelled are the commands that the model does as the server does. What audiences
// there are, it is asked between them. It has no devices.
func modelled() []string {
	return slices.DeleteFunc(api.Commands(), func(name string) bool {
		return strings.HasPrefix(name, "tidings/") || strings.HasPrefix(name, "openim/") || strings.HasSuffix(name, "push") || strings.HasSuffix(name, "/batch")
	})
}

func (g generator) tag() any {
	if g.IntN(50) == 0 {
		return []any{"", "", strings.Repeat("é", 26), strings.Repeat("é", 26), 5.0, nil}[g.IntN(6)]
	}
	if g.IntN(200) == 0 {
		return "rare" + strconv.Itoa(g.IntN(300))
	}
	return g.pick("beta", "muted", "vip", "日本", `"\`, strings.Repeat("t", 50), "t1", "t2", "t3", "t4", "t5")
}

func (g generator) tags() any {
	n := g.IntN(5)
	switch g.IntN(60) {
	case 0:
		n = 10 + g.IntN(2)
	case 1:
		n = 100 + g.IntN(2)
	}
	tags := make([]any, n)
	for i := range tags {
		if tags[i] = g.tag(); n > 50 {
			tags[i] = "many" + strconv.Itoa(i)
		}
	}
	return tags
}

func (g generator) request() (command string, body map[string]any) {
	commands := modelled()
	command = commands[g.IntN(len(commands))]
	switch strings.TrimPrefix(command[strings.Index(command, "/")+1:], "im_") {
	case "set_attr_name":
		names, kinds := map[string]any{}, map[string]any{}
		for range 1 + g.IntN(3) {
			slot := strconv.Itoa(g.IntN(6))
			if g.IntN(30) == 0 {
				slot = g.pick("10", "-1", "01", "", "x")
			}
			if names[slot] = g.attr(); g.IntN(4) == 0 {
				kinds[slot] = float64(g.IntN(2))
			}
		}
		if body = map[string]any{"AttrNames": names}; g.IntN(2) == 0 {
			body["AttrTypes"] = kinds
		}
	case "get_attr_name":
		body = map[string]any{}
	case "set_attr":
		body = map[string]any{"UserAttrs": g.list(func() any { return map[string]any{"To_Account": g.account(), "Attrs": g.attrs()} })}
	case "remove_attr":
		body = map[string]any{"UserAttrs": g.list(func() any {
			names := []any{}
			for range g.IntN(4) {
				names = append(names, g.attr())
			}
			return map[string]any{"To_Account": g.account(), "Attrs": names}
		})}
	case "add_tag", "remove_tag":
		body = map[string]any{"UserTags": g.list(func() any { return map[string]any{"To_Account": g.account(), "Tags": g.tags()} })}
		if g.IntN(3) == 0 {
			body["Replace"] = float64(g.IntN(2))
		}
	case "get_attr", "get_tag", "clear_all_tags", "remove_all_tags":
		body = map[string]any{"To_Account": g.list(func() any { return g.account() })}
	case "account_import":
		body = map[string]any{g.pick("UserID", "UserID", "Identifier"): g.account(), "Nick": strings.Repeat("n", 499+g.IntN(3))}
	case "kick":
		body = map[string]any{"UserID": g.account()}
		if body["UserID"] == admin { // it would end the test's own ticket
			body["UserID"] = "ops"
		}
	case "multiaccount_import":
		if body = map[string]any{"Accounts": g.list(func() any { return g.account() })}; g.IntN(2) == 0 {
			body["AccountList"] = g.list(func() any { return map[string]any{"UserID": g.account(), "Nick": g.pick("", strings.Repeat("n", 501))} })
		}
	case "account_check":
		body = map[string]any{"CheckItem": g.list(func() any { return map[string]any{"UserID": g.account()} })}
	case "account_delete":
		body = map[string]any{"DeleteItem": g.list(func() any { return map[string]any{"UserID": g.account()} })}
	}
	if g.IntN(10) == 0 {
		g.spoil(body)
	}
	return command, body
}

// spoil changes one thing in a body to another kind of thing, or takes it away.
func (g generator) spoil(v any) {
	switch v := v.(type) {
	case map[string]any:
		names := slices.Sorted(maps.Keys(v))
		if len(names) == 0 {
			return
		}
		name := names[g.IntN(len(names))]
		switch g.IntN(4) {
		case 0:
			delete(v, name)
		case 1:
			v[name] = g.thing()
		default:
			g.spoil(v[name])
		}
	case []any:
		if len(v) == 0 {
			return
		}
		if i := g.IntN(len(v)); g.IntN(3) == 0 {
			v[i] = g.thing()
		} else {
			g.spoil(v[i])
		}
	}
}

func (g generator) thing() any {
	return []any{nil, 5.0, 1.5, "x", true, []any{}, map[string]any{}}[g.IntN(7)]
}
