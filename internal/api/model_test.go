package api_test

import (
	"encoding/json"
	"maps"
	"math/rand/v2"
	"os"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode"

	"tidings/internal/app"
	"tidings/internal/gate"
)

// A model is the API as the contract describes it, in the simplest way: no
// structs for requests, one map of users. It knows nothing of the server's code.
type model struct {
	names  [10]string
	kinds  [10]float64
	users  map[string]*modelUser
	admins []string
	create bool // create accounts on first use
	most   int  // different tags that there may be
}

type modelUser struct {
	device bool
	values [10]string
	tags   []string // sorted
}

// A refusal is a whole request that fails with a code.
type refusal int

// do carries out a command with a body that is JSON, and gives the code and the
// members of the answer besides the envelope; ErrorInfo left out.
func (m *model) do(command string, body map[string]any) (code int, members map[string]any) {
	defer func() {
		if r := recover(); r != nil {
			code, members = int(r.(refusal)), map[string]any{}
		}
	}()
	drop(body)
	service, name, _ := strings.Cut(command, "/")
	legacy := service == "all_member_push"
	members = map[string]any{}
	switch strings.TrimPrefix(name, "im_") {
	case "set_attr_name":
		m.setAttrName(body, legacy)
	case "get_attr_name":
		names, kinds := map[string]any{}, map[string]any{}
		for i, n := range m.names {
			if n != "" {
				names[strconv.Itoa(i)], kinds[strconv.Itoa(i)] = n, m.kinds[i]
			}
		}
		members["AttrNames"] = names
		if !legacy {
			members["AttrTypes"] = kinds
		}
	case "set_attr", "remove_attr":
		members = m.change(body, strings.HasSuffix(name, "set_attr"), legacy)
	case "get_attr":
		members = m.getAttr(body, legacy)
	case "add_tag", "remove_tag":
		members = m.changeTags(body, strings.HasSuffix(name, "add_tag"), legacy)
	case "clear_all_tags", "remove_all_tags":
		members = m.clearTags(body, legacy)
	case "get_tag":
		members = m.getTags(body, legacy)
	case "account_import":
		id := m.oneID(body)
		check(checkText(body, "Nick") && checkText(body, "FaceUrl"), 70402)
		check(goodID(id), 70402)
		check(textLen(body, "Nick") <= 500 && textLen(body, "FaceUrl") <= 500, 40601)
		m.make(id)
	case "multiaccount_import":
		members["FailAccounts"] = m.multiImport(body)
	case "account_check":
		items := []any{}
		for _, id := range m.items(body, "CheckItem") {
			status := "NotImported"
			if u := m.users[id]; u != nil && !u.device {
				status = "Imported"
			}
			items = append(items, map[string]any{"UserID": id, "ResultCode": 0.0, "AccountStatus": status})
		}
		members["ResultItem"] = items
	case "account_delete":
		items := []any{}
		for _, id := range m.items(body, "DeleteItem") {
			code := 0.0
			switch {
			case slices.Contains(m.admins, id):
				code = 70402
			case m.users[id] == nil || m.users[id].device:
				code = 70107
			}
			if code == 0 {
				delete(m.users, id)
			}
			items = append(items, map[string]any{"UserID": id, "ResultCode": code})
		}
		members["ResultItem"] = items
	case "kick":
		id := m.oneID(body)
		check(id != "" && len(id) <= 64 && strings.IndexFunc(id, unicode.IsControl) < 0, 70402)
		u := m.users[id]
		check(u != nil && !u.device, 70107)
	}
	return 0, members
}

// drop takes the members away that are null: null is absent.
func drop(v any) {
	switch v := v.(type) {
	case map[string]any:
		maps.DeleteFunc(v, func(_ string, v any) bool { return v == nil })
		for _, v := range v {
			drop(v)
		}
	case []any:
		for _, v := range v {
			drop(v)
		}
	}
}

func check(ok bool, code refusal) {
	if !ok {
		panic(code)
	}
}

func checkText(body map[string]any, name string) bool {
	v, there := body[name]
	_, ok := v.(string)
	return ok || !there
}

func textLen(body map[string]any, name string) int {
	s, _ := body[name].(string)
	return len(s)
}

func goodID(id string) bool {
	ascii := strings.IndexFunc(id, func(r rune) bool { return r < ' ' || r > '~' }) < 0
	return id != "" && len(id) <= 32 && ascii && strings.TrimSpace(id) == id
}

func (m *model) make(id string) {
	if m.users[id] == nil {
		m.users[id] = &modelUser{}
	}
}

// slots returns an object, or an array as the object that has its indexes as names. What
// is null is absent.
func slots(v any) (map[string]any, bool) {
	switch v := v.(type) {
	case map[string]any:
		return v, true
	case []any:
		object := map[string]any{}
		for i, e := range v {
			if e != nil {
				object[strconv.Itoa(i)] = e
			}
		}
		return object, true
	}
	return nil, false
}

func (m *model) setAttrName(body map[string]any, legacy bool) {
	invalid := refusal(90033)
	if legacy {
		invalid = 90001
		delete(body, "AttrTypes")
	}
	names, ok := slots(body["AttrNames"])
	check(ok, 90001)
	kinds, ok := slots(body["AttrTypes"])
	check(ok || body["AttrTypes"] == nil, 90001)
	for _, v := range names {
		_, ok := v.(string)
		check(ok, 90001)
	}
	for _, v := range kinds {
		f, ok := v.(float64)
		check(ok && f == float64(int64(f)), 90001)
	}
	next := *m
	for slot, v := range names {
		check(len(slot) == 1 && slot[0] >= '0' && slot[0] <= '9', invalid)
		name := v.(string)
		check(name != "" && len(name) <= 50, invalid)
		i := slot[0] - '0'
		kind, said := kinds[slot]
		if said {
			check(kind == 0.0 || kind == 1.0, invalid)
			check(m.names[i] == "" || m.kinds[i] == kind, invalid)
			next.kinds[i] = kind.(float64)
		}
		next.names[i] = name
	}
	for slot := range kinds {
		_, ok := names[slot]
		check(ok, invalid)
	}
	seen := map[string]bool{}
	for _, n := range next.names {
		check(n == "" || !seen[n], invalid)
		seen[n] = true
	}
	*m = next
}

func (m *model) change(body map[string]any, set, legacy bool) map[string]any {
	list, ok := body["UserAttrs"].([]any)
	check(ok && len(list) > 0, 90001)
	for _, e := range list {
		entry, ok := e.(map[string]any)
		check(ok || e == nil, 90001)
		_, ok = entry["To_Account"].(string)
		check(ok, 90001)
		if set {
			attrs, ok := entry["Attrs"].(map[string]any)
			check(ok, 90001)
			for _, v := range attrs {
				_, ok := v.(string)
				check(ok, 90001)
			}
			continue
		}
		attrs, ok := entry["Attrs"].([]any)
		check(ok, 90001)
		for _, v := range attrs {
			_, ok := v.(string)
			check(ok, 90001)
		}
	}
	check(len(list) <= 100, 90018)
	for _, e := range list {
		switch attrs := e.(map[string]any)["Attrs"].(type) {
		case map[string]any:
			for name, v := range attrs {
				check(name != "" && slices.Contains(m.names[:], name), 90033)
				check(v != "" && len(v.(string)) <= 50, 90033)
			}
		case []any:
			for _, name := range attrs {
				check(name != "" && slices.Contains(m.names[:], name.(string)), 90033)
			}
		}
	}
	var failed []any
	for _, e := range list {
		entry := e.(map[string]any)
		id := entry["To_Account"].(string)
		if code := m.changeOne(id, entry["Attrs"], legacy); code != 0 {
			failed = append(failed, map[string]any{"To_Account": id, "ErrorCode": float64(code)})
		}
	}
	return errorList(map[string]any{}, failed, legacy)
}

func (m *model) changeOne(id string, attrs any, legacy bool) int {
	u := m.users[id]
	values, set := attrs.(map[string]any)
	if u == nil {
		if !set || !m.create || !goodID(id) {
			return 70107
		}
		u = &modelUser{}
	}
	if u.device && legacy {
		return 70107
	}
	next := *u
	for name, v := range values {
		i := slices.Index(m.names[:], name)
		if (m.kinds[i] == 1) != u.device {
			return 90035
		}
		next.values[i] = v.(string)
	}
	if names, ok := attrs.([]any); ok {
		for _, name := range names {
			next.values[slices.Index(m.names[:], name.(string))] = ""
		}
	}
	m.users[id] = &next
	return 0
}

func errorList(members map[string]any, failed []any, legacy bool) map[string]any {
	if len(failed) > 0 && !legacy {
		members["ErrorList"] = failed
	}
	return members
}

func (m *model) getAttr(body map[string]any, legacy bool) map[string]any {
	list, ok := body["To_Account"].([]any)
	check(ok && len(list) > 0, 90001)
	for _, e := range list {
		_, ok := e.(string)
		check(ok, 90001)
	}
	check(len(list) <= 100, 90018)
	found, failed := []any{}, []any{}
	for _, e := range list {
		u := m.users[e.(string)]
		if u == nil || u.device && legacy {
			failed = append(failed, map[string]any{"To_Account": e, "ErrorCode": 70107.0})
			continue
		}
		attrs := map[string]any{}
		for i, v := range u.values {
			if v != "" && m.names[i] != "" {
				attrs[m.names[i]] = v
			}
		}
		found = append(found, map[string]any{"To_Account": e, "Attrs": attrs})
	}
	return errorList(map[string]any{"UserAttrs": found}, failed, legacy)
}

// id is a member that names an account.
func id(body map[string]any, name string) (string, bool) {
	v, there := body[name]
	s, ok := v.(string)
	check(ok || !there, 60015)
	return s, there
}

func (m *model) oneID(body map[string]any) string {
	older, okOlder := id(body, "Identifier")
	newer, ok := id(body, "UserID")
	if !ok {
		newer = older
	}
	check(ok || okOlder, 70402)
	return newer
}

func (m *model) items(body map[string]any, name string) []string {
	list, ok := body[name].([]any)
	check(ok, 70402)
	var ids []string
	missing := len(list) == 0 || len(list) > 100
	for _, e := range list {
		entry, ok := e.(map[string]any)
		check(ok || e == nil, 70402)
		one, there := id(entry, "UserID")
		missing = missing || !there
		ids = append(ids, one)
	}
	check(!missing, 70402)
	return ids
}

func (m *model) multiImport(body map[string]any) []any {
	// Both forms must be of the right type, one is used.
	accounts, ok := body["Accounts"].([]any)
	check(ok || body["Accounts"] == nil, 70402)
	_, ok = body["AccountList"].([]any)
	check(ok || body["AccountList"] == nil, 70402)
	for _, e := range accounts {
		_, ok := e.(string)
		check(e != nil, 70402)
		check(ok, 60015)
	}
	if list, ok := body["AccountList"].([]any); ok {
		for _, e := range list {
			if entry, ok := e.(map[string]any); ok {
				check(checkText(entry, "Nick"), 70402)
			}
		}
		delete(body, "Accounts")
	}
	if accounts, ok = body["Accounts"].([]any); ok {
		var list []any
		for _, e := range accounts {
			list = append(list, map[string]any{"UserID": e})
		}
		body["AccountList"] = list
	}
	ids := m.items(body, "AccountList")
	failed := []any{}
	for i, one := range ids {
		entry := body["AccountList"].([]any)[i].(map[string]any)
		if !goodID(one) || textLen(entry, "Nick") > 500 {
			failed = append(failed, one)
			continue
		}
		m.make(one)
	}
	return failed
}

// without leaves the texts out, which are no part of the contract.
func without(v any) any {
	switch v := v.(type) {
	case map[string]any:
		delete(v, "ErrorInfo")
		delete(v, "ResultInfo")
		for _, v := range v {
			without(v)
		}
	case []any:
		for _, v := range v {
			without(v)
		}
	}
	return v
}

// TestModel sends random commands to the server and to the model and compares
// whole answers.
func TestModel(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	if s := os.Getenv("SEED"); s != "" {
		var err error
		if seed, err = strconv.ParseUint(s, 10, 64); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("SEED=%d", seed)
	g := generator{rand.New(rand.NewPCG(seed, 0))}
	n := open(t, gate.Options{}, withDevices(t, device))
	n.declare(app.Declaration{ID: appID, Admins: []string{"ops"}, MaxTags: new(120)})
	n.serve()
	m := &model{most: 120, users: map[string]*modelUser{admin: {}, "ops": {}, device: {device: true}}, admins: []string{admin, "ops"}}
	m.names = [10]string{"sex", "city", "country", 9: "build"}
	m.kinds[9] = 1
	codes := map[int]int{}
	// Every code must come up, so a run that was short of one goes on.
	wanted := []int{0, 90001, 90018, 90020, 90032, 90033, 90040, 70402, 60015, 70107, 40601}
	missing := func() bool { return slices.ContainsFunc(wanted, func(code int) bool { return codes[code] == 0 }) }
	for i := 0; i < 2000 || missing() && i < 40_000; i++ {
		if i%10 == 0 {
			m.audit(t, n, g)
		}
		if g.IntN(200) == 0 {
			m.create = !m.create
			n.declare(app.Declaration{ID: appID, CreateAccounts: new(m.create)})
		}
		command, body := g.request()
		text, err := json.Marshal(body)
		if err != nil {
			t.Fatal(err)
		}
		got := n.post(command, string(text))
		code, want := m.do(command, body)
		codes[code]++
		if got.ErrorCode != code {
			t.Fatalf("request %d: %s %s: got %s, want code %d", i, command, text, got.raw, code)
		}
		members := without(got.members).(map[string]any)
		delete(members, "ActionStatus")
		delete(members, "ErrorCode")
		if !reflect.DeepEqual(members, want) {
			t.Fatalf("request %d: %s %s: got %s, want %v", i, command, text, got.raw, want)
		}
	}
	// At the end everything is compared, not only what was asked for.
	if got := n.count(); got != len(m.users) {
		t.Errorf("%d users, want %d", got, len(m.users))
	}
	for id, u := range m.users {
		users, err := n.store.Users.Users(t.Context(), appID, []string{id})
		if err != nil {
			t.Fatal(err)
		}
		if !users[0].Exists || users[0].Values != u.values || (users[0].Kind == 1) != u.device || !slices.Equal(users[0].Tags, u.tags) {
			t.Errorf("user %q is %+v, want %+v", id, users[0], u)
		}
	}
	t.Logf("codes: %v", codes)
	for _, code := range wanted {
		if codes[code] == 0 {
			t.Errorf("no request was answered %d", code)
		}
	}
}
