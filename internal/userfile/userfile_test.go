package userfile

import (
	"bytes"
	"reflect"
	"strings"
	"testing"

	"tidings/internal/audience"
)

func TestBadLines(t *testing.T) {
	for _, c := range []struct{ line, want string }{
		{``, "the JSON ends too early"},
		{`{"To_Account":"a"`, "the JSON ends too early"},
		{`[]`, "want a JSON object, got an array"},
		{`"a"`, "want a JSON object, got a string"},
		{`{}`, "To_Account is missing"},
		{`{"To_Account":null}`, "To_Account: want a string, got null"},
		{`{"To_Account":1}`, "To_Account: want a string, got a number"},
		{`{"to_account":"a"}`, `member "to_account" is not known`},
		{`{"To_Account":"a","Tag":["x"]}`, `member "Tag" is not known`},
		{`{"To_Account":"a","To_Account":"b"}`, `member "To_Account" stands twice`},
		{`{"To_Account":"a","Attrs":{"x":"1","x":"2"}}`, `member "x" stands twice`},
		{`{"To_Account":"a","Attrs":{"x":1}}`, "Attrs.x: want a string, got a number"},
		{`{"To_Account":"a","Attrs":[]}`, "Attrs: want an object, got an array"},
		{`{"To_Account":"a","Tags":"x"}`, "Tags: want an array, got a string"},
		{`{"To_Account":"a","Tags":[1]}`, "Tags: want a string, got a number"},
		{`{"To_Account":"a","AccountType":2}`, "AccountType: 2 is not a whole number from 0 to 1"},
		{`{"To_Account":"a","AccountType":"1"}`, "AccountType: want a number, got a string"},
		{`{"To_Account":"a","Created":0}`, "Created: 0 is not a whole number from 1 to 4294967295"},
		{`{"To_Account":"a","Created":1.5}`, "Created: 1.5 is not a whole number"},
		{`{"To_Account":"a","Nick":true}`, "Nick: want a string, got a boolean"},
		{`{"To_Account":"a"} {}`, "there is more after the JSON object"},
		{`{"AttrNames":{}}`, "AttrNames: a header can only be the first line of a file"},
		{"{\"To_Account\":\"\xff\"}", "no JSON after"},
		{"{\"To_Account\":\"a\x00\"}", "no JSON after"},
		{`{"To_Account":"a",}`, "no JSON after"},
	} {
		var l Line
		if err := new(Parser).Line([]byte(c.line), &l); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("Line(%s) = %v, want %q", c.line, err, c.want)
		}
	}
}

func TestHeader(t *testing.T) {
	a := audience.Attributes{0: {Name: "sex"}, 9: {Name: `a "b"`, Kind: audience.RegistrationID}}
	line, err := AppendHeader(nil, &a)
	if want := `{"AttrNames":{"0":"sex","9":"a \"b\""},"AttrTypes":{"0":0,"9":1}}` + "\n"; err != nil || string(line) != want {
		t.Fatalf("AppendHeader = %s, %v, want %s", line, err, want)
	}
	if got, err := ParseHeader(line); err != nil || *got != a || !IsHeader(line) {
		t.Errorf("ParseHeader = %v, %v", got, err)
	}
	if empty, err := AppendHeader(nil, &audience.Attributes{}); err != nil || !IsHeader(empty) {
		t.Errorf("AppendHeader of nothing = %s, %v", empty, err)
	}
	for _, c := range []struct{ line, want string }{
		{`{"AttrNames":{"0":"x","1":"x"}}`, `"x" is the name of two slots`},
		{`{"AttrNames":{"10":"x"}}`, `"10" is not a slot from 0 to 9`},
		{`{"AttrNames":{"":"x"}}`, `"" is not a slot`},
		{`{"AttrNames":{"0":""}}`, "an attribute name has 1 to 50"},
		{`{"AttrNames":{"0":1}}`, "AttrNames.0: a number does not belong there"},
		{`{"AttrNames":{},"AttrTypes":{"0":0}}`, `"0" is not a slot that AttrNames names`},
		{`{"AttrNames":{"0":"x"},"AttrTypes":{"0":2}}`, "2 is not an account type"},
		{`{"AttrNames":{},"Attrs":{}}`, `member "Attrs" is not known`},
		{`{"AttrNames":{"0":"x","0":"y"}}`, "stands twice"},
		{`{"AttrNames":{}`, "ends too early"},
	} {
		if got, err := ParseHeader([]byte(c.line)); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("ParseHeader(%s) = %v, %v, want %q", c.line, got, err, c.want)
		}
	}
}

func TestCSV(t *testing.T) {
	c, err := NewCSV([]byte("To_Account,Tags,city,Created,AccountType,Nick\r\n"))
	if err != nil {
		t.Fatal(err)
	}
	if got := c.Attributes(); !reflect.DeepEqual(got, []string{"city"}) {
		t.Errorf("Attributes = %q", got)
	}
	var l Line
	if err := c.Line([]byte("mary,a|b\\|c|d\\\\,\"Paris, \"\"75\"\"\",7,1,\n"), &l); err != nil {
		t.Fatal(err)
	}
	want := Line{Account: "mary", Kind: 1, Tags: []string{"a", "b|c", `d\`}, Attrs: []audience.NamedValue{{Name: "city", Value: `Paris, "75"`}}, Created: 7}
	if !reflect.DeepEqual(l, want) {
		t.Errorf("Line = %+v, want %+v", l, want)
	}
	for _, bad := range []struct{ text, want string }{
		{"mary,a\n", "it has 2 cells, the first row has 6"},
		{",,,,,\n", "To_Account is empty"},
		{"m,,,0,,\n", "Created: \"0\" is not a whole number"},
		{"m,,,,2,\n", "AccountType: \"2\" is neither 0 nor 1"},
		{"m\",,,,,\n", "bare \" in non-quoted"},
		{"\"m,,,,,\n", "extraneous or missing"},
		{"\xff,,,,,\n", "not UTF-8"},
		{"a,,,,,\nb,,,,,\n", "no record"},
	} {
		if err := c.Line([]byte(bad.text), &l); err == nil || !strings.Contains(err.Error(), bad.want) {
			t.Errorf("Line(%q) = %v, want %q", bad.text, err, bad.want)
		}
		if err := c.Line([]byte("good,,,,,"), &l); err != nil || l.Account != "good" {
			t.Errorf("after %q: %v", bad.text, err)
		}
	}
	for _, bad := range []struct{ text, want string }{
		{"Tags,city", "no column To_Account"}, {"To_Account,,x", "column 2 has no name"}, {"To_Account,x,x", `two columns "x"`}, {"\"", "missing"},
	} {
		if _, err := NewCSV([]byte(bad.text)); err == nil || !strings.Contains(err.Error(), bad.want) {
			t.Errorf("NewCSV(%q) = %v, want %q", bad.text, err, bad.want)
		}
	}
	if _, err := NewCSVWriter(new(bytes.Buffer), &audience.Attributes{{Name: "Tags"}}); err == nil {
		t.Error("an attribute may be called Tags")
	}
}

// FuzzLine: what is read of a line, printed and read again is the same.
func FuzzLine(f *testing.F) {
	f.Add([]byte(`{"To_Account":"Mary","AccountType":1,"Attrs":{"sex":"female"},"Tags":["beta","b\u0000|\\"],"Nick":"","FaceUrl":"x","Created":1760000000}`))
	f.Add([]byte(`{"To_Account":"\ud83d\ude00\"","Attrs":{},"Tags":[]}`))
	f.Add([]byte(`{"To_Account":"a","Created":1e3}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		var l, again Line
		if new(Parser).Line(text, &l) != nil {
			return
		}
		printed, err := AppendLine(nil, &l)
		if err != nil {
			t.Fatalf("%q is %+v, which cannot be written: %v", text, l, err)
		}
		if err := new(Parser).Line(printed, &again); err != nil || !same(l, again) {
			t.Fatalf("%q is %+v, written %s, which is %+v, %v", text, l, printed, again, err)
		}
		if IsHeader(printed) {
			t.Fatalf("%s is taken for a header", printed)
		}
	})
}

// same compares lines; an empty list is none.
func same(a, b Line) bool {
	if len(a.Attrs)+len(b.Attrs) == 0 {
		a.Attrs, b.Attrs = nil, nil
	}
	if len(a.Tags)+len(b.Tags) == 0 {
		a.Tags, b.Tags = nil, nil
	}
	return reflect.DeepEqual(a, b)
}

// FuzzCSV: a record that is read, written and read again is the same.
func FuzzCSV(f *testing.F) {
	f.Add("mary,a|b,Paris,x\n")
	f.Add("\"a\nb\",\"x\\|y|\\\\\",,\"\"\"\"")
	f.Fuzz(func(t *testing.T, text string) {
		attrs := audience.Attributes{{Name: "city"}}
		c, err := NewCSV([]byte("To_Account,Tags,city,Nick\n"))
		if err != nil {
			t.Fatal(err)
		}
		var l, again Line
		if c.Line([]byte(text), &l) != nil {
			return
		}
		var out bytes.Buffer
		w, err := NewCSVWriter(&out, &attrs)
		if err != nil {
			t.Fatal(err)
		}
		if err := w.Write(&l); err != nil {
			t.Fatal(err)
		}
		if err := w.Flush(); err != nil {
			t.Fatal(err)
		}
		head, record, _ := strings.Cut(out.String(), "\n")
		if c, err = NewCSV([]byte(head)); err != nil {
			t.Fatal(err)
		}
		if err := c.Line([]byte(record), &again); err != nil || !same(l, again) {
			t.Fatalf("%q is %+v, written %q, which is %+v, %v", text, l, record, again, err)
		}
	})
}
