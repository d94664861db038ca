package api_test

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"tidings/internal/gate"
)

// TestLiveClients: what clients that others wrote send is understood (spec/README.md).
func TestLiveClients(t *testing.T) {
	n := start(t, gate.Options{}).direct()
	for _, body := range []string{"", " ", "[]", " [ ] ", "{}", `{"ignored":{"a":1,"a":2}}`, "\xef\xbb\xbf"} {
		n.post("timpush/get_attr_name", body).ok(t)
		n.post("all_member_push/im_get_attr_name", body).ok(t)
	}
	for _, body := range []string{"[0]", "[[]]", "[]x", "[", "null"} {
		n.post("timpush/get_attr_name", body).code(t, 90001)
	}
	for _, body := range []string{"", "[]"} { // of a command that has fields
		n.post("timpush/get_attr", body).code(t, 90001)
		n.post("im_open_login_svc/kick", body).code(t, 60003)
	}

	// PHP makes a list of an object with the keys 0, 1, ...
	n.post("timpush/set_attr_name", `{"AttrNames":["sex","town",null,"plan"],"AttrTypes":[0,0]}`).ok(t)
	if a := n.post("timpush/get_attr_name", ""); !strings.Contains(a.raw, `{"0":"sex","1":"town","2":"country","3":"plan","9":"build"}`) {
		t.Errorf("the names are %s", a.raw)
	}
	n.post("all_member_push/im_set_attr_name", `{"AttrNames":["sex","city"],"AttrTypes":"ignored"}`).ok(t)

	for _, path := range []string{"/v4//timpush/get_attr_name", "//v4/timpush/get_attr_name", "/v4/timpush///get_attr_name"} {
		n.post("", "", func(r *http.Request, q url.Values) { r.URL.Path, r.URL.RawQuery = path, q.Encode() }).ok(t)
	}
	n.post("", "", func(r *http.Request, q url.Values) {
		r.URL.Path, r.URL.RawQuery = "/v4/timpush/get_attr_name/", q.Encode()
	}).code(t, 60002)
}

// TestUnknownMembers: a member that our own commands, or a Condition, do not have is
// refused with the nearest that they have: without it everybody is selected. Elsewhere it
// is ignored.
func TestUnknownMembers(t *testing.T) {
	n := start(t, gate.Options{}).direct()
	for body, want := range map[string]string{
		`{"where":"true"}`:                        "where is no member, did you mean Where?",
		`{"Conditon":{"TagsAnd":["a"]}}`:          "Conditon is no member, did you mean Condition?",
		`{"Condition":{"TagOr":["beta"]}}`:        "Condition.TagOr is no member, did you mean TagsOr?",
		`{"Condition":{"tagsor":["beta"]}}`:       "Condition.tagsor is no member, did you mean TagsOr?",
		`{"Condition":{"Tags":["beta"]}}`:         "Condition.Tags is no member, did you mean TagsOr?",
		`{"Condition":{"Everything":null}}`:       "Condition.Everything is no member; there are TagsAnd, TagsOr, TagsNot, AttrsAnd, AttrsOr",
		`{"` + strings.Repeat("x", 5000) + `":1}`: "xxx... is no member; there are Condition, Where, AccountType, Sample",
	} {
		n.post("tidings/estimate_audience", body).code(t, 90001, want)
	}
	n.post("tidings/list_tags", `{"Prefx":"a"}`).code(t, 90001, "did you mean Prefix?")
	n.post("timpush/get_attr", `{"To_Account":["Mary"],"to_account":7,"x":{"y":[]}}`).ok(t)
}

// TestListsAreCounted: of a list that is too long no more is kept than is needed to say
// so, and what is wrong with its elements comes first.
func TestListsAreCounted(t *testing.T) {
	n := start(t, gate.Options{}).direct()
	many := func(element string, k int) string { return strings.Repeat(element+",", k-1) + element }
	n.post("timpush/get_attr", `{"To_Account":[`+many(`"u"`, 200_000)+`]}`).code(t, 90018, "To_Account has 200000 entries, at most 100")
	n.post("timpush/get_attr", `{"To_Account":[`+many(`"u"`, 5000)+`,7]}`).code(t, 90001, "To_Account[5000]")
	n.post("timpush/get_attr", `{"To_Account":[`+many(`"u"`, 5000)+`]`).code(t, 90001, "not valid JSON")
	n.post("timpush/add_tag", `{"UserTags":[`+many(`{"To_Account":"u","Tags":[`+many(`"t"`, 300)+`]}`, 300)+`]}`).code(t, 90018, "UserTags has 300")
	n.post("im_open_login_svc/multiaccount_import", `{"Accounts":[`+many(`"u"`, 101)+`]}`).code(t, 70402, "more than 100")
	n.post("timpush/set_attr", `{"UserAttrs":[{"To_Account":"Mary","Attrs":{`+many(`"sex":"f"`, 2)+`}}]}`).code(t, 90001, "UserAttrs[0].Attrs.sex is there twice")
	n.post("timpush/get_attr", `{"To_Account":["Mary"],"To_Account":["Mary"]}`).code(t, 90001, "To_Account is there twice")
	attrs := make([]string, 5000)
	for i := range attrs {
		attrs[i] = fmt.Sprintf(`"a%d":"v"`, i)
	}
	n.post("timpush/set_attr", `{"UserAttrs":[{"To_Account":"Mary","Attrs":{`+strings.Join(attrs, ",")+`}}]}`).code(t, 90033, "a0")
}

// TestLargestTags: add_tag takes whatever keeps its limits, however it is escaped.
func TestLargestTags(t *testing.T) {
	n := start(t, gate.Options{}).direct()
	var entries []string
	for range 100 {
		tags := make([]string, 100)
		for i := range tags {
			tags[i] = `"` + strings.Repeat(`\u0444`, 24) + fmt.Sprintf("%02d", i) + `"`
		}
		entries = append(entries, `{"To_Account":"Mary","Tags":[`+strings.Join(tags, ",")+`]}`)
	}
	body := `{"Replace":1,"UserTags":[` + strings.Join(entries, ",") + `]}`
	if len(body) < 1<<20 {
		t.Fatalf("the body has only %d bytes", len(body))
	}
	n.post("timpush/add_tag", body).ok(t)
	n.post("timpush/set_attr", body).code(t, 93000)
	n.post("timpush/add_tag", body+strings.Repeat(" ", 4<<20)).code(t, 93000, "4194304")
}
