package gate

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"reflect"
	"strings"
	"testing"

	"tidings/internal/apierr"
)

var testFamily = &Family{
	BadJSON: apierr.BadJSONCommon, BadField: apierr.BadAccountField, BadAccount: apierr.AccountType,
}

// every has a member of each kind.
type every struct {
	inner
	Text    string
	Maybe   *string
	Account string           `account:"yes"`
	Number  int64            `range:"1-5" default:"3"`
	Perhaps *int64           `json:"perhaps"`
	Object  *inner           `strict:"yes"`
	Texts   []string         `items:"0-2"`
	Objects []inner          `items:"1-2" over:"90018"`
	Members Members          `items:"0-2" list:"yes"`
	Numbers map[string]int64 `items:"0-2" list:"yes"`

	Coded *int64   `range:"0-9" code:"90033" text:"Coded is bad"`
	Parts []coded  `code:"90032" inside:"90020"`
	Whole *keeping `code:"90040"`
	Loose struct {
		_ struct{} `near:"Where DryRun"`
		A string
	}
	Raw  Raw    `is:"object|array"`
	Free *inner `loose:"yes"`
}

type coded struct {
	Need string   `need:"yes" words:"a|b"`
	Own  string   `code:"90022"`
	Some []string `words:"a|b"`
	Raw  Raw      `is:"object"`
}

type keeping struct {
	Known  *int64
	Rest   inner2
	Fields Kept `keep:"all"`
}

type inner2 struct {
	Known  string
	Fields Kept
}

type inner struct {
	Need string `need:"yes"`
	Tags []string
}

// TestDecode holds what each member may be, and how it is said that it is not.
func TestDecode(t *testing.T) {
	plan := planOf(reflect.TypeFor[every]())
	for _, c := range []struct {
		members, want string // of a body that has Need
		kind          *apierr.Kind
	}{
		{``, ``, nil},
		{`,"Text":"a","Maybe":"b","Account":"c","Number":5,"perhaps":-9223372036854775808`, ``, nil},
		{`,"Text":null,"Maybe":null,"Account":null,"Number":null,"perhaps":null,"Object":null,"Texts":null,"Objects":null,"Members":null,"Numbers":null`, ``, nil},
		{`,"Text":1`, "Text: want a string, got 1", apierr.BadAccountField},
		{`,"Account":1`, "Account: want a string, got 1", apierr.AccountType},
		{`,"Account":[]`, "Account: want a string, got an array", apierr.AccountType},
		{`,"Number":0`, "Number: 0 is not a number from 1 to 5", apierr.BadAccountField},
		{`,"Number":"3"`, `Number: want an integer, got "3"`, apierr.BadAccountField},
		{`,"Number":3.0`, `Number: want an integer, got 3.0`, apierr.BadAccountField},
		{`,"Number":9223372036854775808`, `Number: want an integer, got 9223372036854775808`, apierr.BadAccountField},
		{`,"Number":` + strings.Repeat("9", 1000), `Number: want an integer, got 99999`, apierr.BadAccountField},
		{`,"Object":[]`, "Object: want an object, got an array", apierr.BadAccountField},
		{`,"Object":{}`, "Object.Need is missing", apierr.BadAccountField},
		{`,"Object":{"Need":"","need":""}`, "Object.need is no member, did you mean Need?", apierr.BadAccountField},
		{`,"Object":{"Need":"","Tags":["a",{}]}`, "Object.Tags[1]: want a string, got an object", apierr.BadAccountField},
		{`,"Texts":["a","b","c","d"]`, ``, nil}, // the command counts three
		{`,"Texts":["a",null]`, "Texts[1]: want a string, got null", apierr.BadAccountField},
		{`,"Texts":{}`, "Texts: want an array, got an object", apierr.BadAccountField},
		{`,"Objects":[]`, "Objects is missing or empty", apierr.BadAccountField},
		{`,"Objects":[{"Need":"a"},{"Need":"b"},{"Need":"c"}]`, "Objects has 3 entries, at most 2 are allowed", apierr.TooManyAccounts},
		{`,"Objects":[{"Need":"a"},{"Need":"b"},{"Need":"c"},{"Tags":[]}]`, "Objects[3].Need is missing", apierr.BadAccountField},
		{`,"Objects":[null]`, "Objects[0]: want an object, got null", apierr.BadAccountField},
		{`,"Members":{"a":"b","c":null}`, ``, nil},
		{`,"Members":["b",null,"c"]`, ``, nil},
		{`,"Members":{"a":"b","a":"c"}`, "Members.a is there twice", apierr.BadJSONCommon},
		{`,"Members":{"a":1}`, "Members.a: want a string, got 1", apierr.BadAccountField},
		{`,"Members":"x"`, `Members: want an object, got "x"`, apierr.BadAccountField},
		{`,"Numbers":{"0":1,"0":2}`, "Numbers[0] is there twice", apierr.BadJSONCommon},
		{`,"Numbers":[1,"2"]`, `Numbers[1]: want an integer, got "2"`, apierr.BadAccountField},
		{`,"Need":"again"`, "Need is there twice", apierr.BadJSONCommon},
		{`,"Coded":"1"`, "Coded is bad", apierr.InvalidAttribute},
		{`,"Coded":10`, "Coded is bad", apierr.InvalidAttribute},
		{`,"Coded":1.5`, "Coded is bad", apierr.InvalidAttribute},
		{`,"Coded":1,"Text":1`, "Text: want a string, got 1", apierr.BadAccountField}, // the code ends with the member
		{`,"Parts":{}`, "Parts: want an array, got an object", apierr.TooManyTags},
		{`,"Parts":[1]`, "Parts[0]: want an object, got 1", apierr.TagTooLong},
		{`,"Parts":[{}]`, "Parts[0].Need is missing", apierr.TagTooLong},
		{`,"Parts":[{"Need":"c"}]`, `Parts[0].Need: "c" is none of a, b`, apierr.TagTooLong},
		{`,"Parts":[{"Some":["a",""]}]`, `Parts[0].Some[1]: "" is none of a, b`, apierr.TagTooLong},
		{`,"Parts":[{"Own":1}]`, "Parts[0].Own: want a string, got 1", apierr.TagTwice},
		{`,"Parts":[{"Own":"","Need":1}]`, "Parts[0].Need: want a string, got 1", apierr.TagTooLong},
		{`,"Parts":[{"Need":"","Raw":[]}]`, "Parts[0].Raw: want an object, got an array", apierr.TagTooLong},
		{`,"Parts":[{"Need":"a","Raw":{"a":[]}}],"Number":"x"`, `Number: want an integer, got "x"`, apierr.BadAccountField},
		{`,"Whole":{"Known":1,"Rest":{"x":1,"y":null},"z":[ 1 ]}`, ``, nil},
		{`,"Whole":{"Known":"1"}`, `Whole.Known: want an integer, got "1"`, apierr.EmptyTag},
		{`,"Whole":{"Rest":{"Known":1}}`, `Whole.Rest.Known: want a string, got 1`, apierr.EmptyTag},
		{`,"Whole":{"x":1,"x":2}`, `Whole.x is there twice`, apierr.BadJSONCommon},
		{`,"Loose":{"A":"","Other":1}`, ``, nil},
		{`,"Loose":{"a":""}`, `Loose.a is no member, did you mean A?`, apierr.BadAccountField},
		{`,"Loose":{"where":""}`, `Loose.where is no member; there are A`, apierr.BadAccountField},
		{`,"Loose":{"Dry_Run1":""}`, `Loose.Dry_Run1 is no member`, apierr.BadAccountField},
		{`,"Loose":{"DryRun123":""}`, ``, nil},
		{`,"Raw":{"a":1}`, ``, nil},
		{`,"Raw":{"a":1,"a":2}`, `Raw has a member twice`, apierr.BadJSONCommon},
		{`,"Whole":{"x":[{"a":1,"a":2}]}`, `Whole.x has a member twice`, apierr.BadJSONCommon},
		{`,"Free":{"Need":"","x":1}`, ``, nil},
		{`,"Raw":"x"`, `Raw: want an object or an array, got "x"`, apierr.BadAccountField},
		{`,"unknown":1,"unknown":{"a":[],"a":0}`, ``, nil},
		{`,"Text":1,"Texts":[`, "request body is not valid JSON: it ends too early at Texts", apierr.BadJSONCommon}, // earlier than the type
		{`,"Text":1} {}`, "request body is not valid JSON: there is something behind the object", apierr.BadJSONCommon},
		{`} 7`, "request body is not valid JSON: there is something behind the object", apierr.BadJSONCommon},
		{`,"Text":"` + "\xff" + `"`, "request body is not valid JSON: invalid UTF-8", apierr.BadJSONCommon},
	} {
		body := `{"Need":""` + c.members
		if !strings.Contains(c.members, "}") || !strings.Contains(c.want, "not valid") {
			if !strings.HasSuffix(c.members, "[") {
				body += "}"
			}
		}
		in := new(every)
		err := decode([]byte(body), in, plan, testFamily)
		if c.kind == nil && err != nil || c.kind != nil && (!errors.Is(err, c.kind) || !strings.HasPrefix(apierr.From(err).Info(), c.want)) {
			t.Errorf("%.80s: %v, want %v %s", body, err, c.kind, c.want)
		}
		if len(in.Texts) > 3 || len(in.Objects) > 3 || len(in.Members) > 3 || len(in.Numbers) > 3 {
			t.Errorf("%.80s: more is kept than is needed: %+v", body, in)
		}
		if err == nil && !strings.Contains(body, `"Number":5`) && in.Number != 3 {
			t.Errorf("%.80s: Number is %d, want its default 3", body, in.Number)
		}
	}
	strict := *testFamily
	strict.Strict = true
	for body, want := range map[string]string{
		`{"Need":"","Whole":{"x":1}}`:                "",
		`{"Need":"","x":1}`:                          "x is no member",
		`{"Need":"","Free":{"Need":"","x":1}}`:       "",
		`{"Need":"","Free":{"Need":"","x":1},"x":1}`: "x is no member",
		`{"Need":"","Parts":[{"Need":"a","x":1}]}`:   "Parts[0].x is no member",
	} {
		if err := decode([]byte(body), new(every), plan, &strict); (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%s of a strict family: %v, want %q", body, err, want)
		}
	}
	for body, want := range map[string]string{"": "is empty", "null": "is null", "[]": "is an array", "7": "is a number", `"x"`: "is a string", "{": "ends too early", "\xef\xbb\xbf{}": "Need is missing"} {
		if err := decode([]byte(body), new(every), plan, testFamily); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", body, err, want)
		}
	}
}

// TestKept: members are kept as they were written.
func TestKept(t *testing.T) {
	in := new(every)
	body := `{"Need":"","Whole":{"Known" : 1 ,"Rest":{"x":"\u0041","Known":"k","n":null},"z":
		[ 1 ,{"a":2}], "n":null},"Raw": [ 1, 2]}`
	if err := decode([]byte(body), in, planOf(reflect.TypeFor[every]()), testFamily); err != nil {
		t.Fatal(err)
	}
	want := `map[Known:1 Rest:{"x":"\u0041","Known":"k","n":null} z:[ 1 ,{"a":2}]] map[x:"\u0041"] [ 1, 2]`
	got := fmt.Sprintf("%s %s %s", in.Whole.Fields, in.Whole.Rest.Fields, in.Raw)
	if got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

// FuzzDecode: what is decoded is what encoding/json reads of the same body, and whatever
// comes is an error of the family or none.
func FuzzDecode(f *testing.F) {
	for _, body := range []string{
		`{"Need":"a","Tags":["b"],"Text":"c","Number":2,"Object":{"Need":""},"Objects":[{"Need":"x"}]}`,
		`{"Need":"a","Members":{"0":"x"},"Numbers":[1]}`, `{"Need":"\ud800"}`, `{"a":{"a":{"a":[[[[]]]]}}}`, `{"Need":1e400}`, "[", "\xef\xbb\xbf{}",
	} {
		f.Add([]byte(body))
	}
	plan := planOf(reflect.TypeFor[every]())
	f.Fuzz(func(t *testing.T, body []byte) {
		in := new(every)
		err := decode(body, in, plan, testFamily)
		if err != nil {
			e := apierr.From(err)
			if e.Kind == apierr.Internal || len(e.Info()) > apierr.MaxInfoBytes || e.Info() == "" {
				t.Fatalf("%q: %v", body, err)
			}
			return
		}
		var plain struct{ Need, Text string }
		trimmed := bytes.TrimPrefix(body, []byte("\xef\xbb\xbf"))
		var members map[string]json.RawMessage
		if err := json.Unmarshal(trimmed, &members); err != nil {
			t.Fatalf("%q is decoded, and is not JSON: %v", body, err)
		}
		_ = json.Unmarshal(members["Need"], &plain.Need)
		_ = json.Unmarshal(members["Text"], &plain.Text)
		if in.Need != plain.Need || in.Text != plain.Text {
			t.Fatalf("%q: %+v, want %+v", body, in, plain)
		}
	})
}

// TestRoom: an app gets its share and all together no more than there is.
func TestRoom(t *testing.T) {
	r := newRoom(100, 10)
	a, b := r.claim(1), r.claim(1)
	if a.take(20) != claimed || b.take(5) != claimed || b.take(1) != appFull {
		t.Error("an app does not get a quarter")
	}
	var others []claim
	for app := range uint32(3) {
		c := r.claim(app + 2)
		if c.take(25) != claimed {
			t.Errorf("app %d does not get its share", app+2)
		}
		others = append(others, c)
	}
	last := r.claim(9)
	if !r.full() || last.take(1) != roomFull {
		t.Error("more is taken than there is")
	}
	a.shrink(5)
	if last.take(15) != claimed || last.take(1) != roomFull {
		t.Error("what was given back is not there")
	}
	for _, c := range append(others, a, b, last) {
		c.release()
		c.release()
	}
	if used := r.used.Load(); used != 0 {
		t.Errorf("%d is still used", used)
	}
}

// TestDiscard: no more bodies are read at once that nobody wants than there may be; the
// others are left.
func TestDiscard(t *testing.T) {
	for _, c := range []struct {
		name    string
		r       request
		length  int64
		expect  string
		waiting int64
		want    bool
	}{
		{"refused", request{}, 1000, "", 0, true},
		{"chunked", request{}, -1, "", 0, true},
		{"the last that may", request{}, 1000, "", maxDiscarding - 1, true},
		{"one more", request{}, 1000, "", maxDiscarding, false},
		{"read", request{read: true}, 1000, "", 0, false},
		{"none", request{}, 0, "", 0, false},
		{"too much", request{}, maxDiscarded + 1, "", 0, false},
		{"the client waits", request{}, 1000, "100-continue", 0, false},
		{"the client waited", request{begun: true}, 1000, "100-continue", 0, true},
	} {
		body := strings.NewReader(strings.Repeat("x", 1000))
		g := &Gate{}
		g.discarding.Store(c.waiting)
		c.r.http = &http.Request{ContentLength: c.length, Body: io.NopCloser(body), Header: http.Header{"Expect": {c.expect}}}
		g.discard(&c.r)
		if got := body.Len() == 0; got != c.want || g.discarding.Load() != c.waiting {
			t.Errorf("%s: read %t, want %t; %d wait, %d did", c.name, got, c.want, g.discarding.Load(), c.waiting)
		}
	}
}
