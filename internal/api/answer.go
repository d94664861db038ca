package api

import (
	"reflect"

	"github.com/go-json-experiment/json/jsontext"

	"tidings/internal/audience"
	"tidings/internal/gate"
)

// accountErrors is the ErrorList of an answer, left out when nothing failed
// (spec/timpush-api.md, 2.5).
type accountErrors struct {
	ErrorList []accountError `json:",omitempty" newer:"yes"` // The accounts that failed while the others were done.
}

type accountError struct {
	Account string `json:"To_Account"` // The account as it was sent.
	Code    int    `json:"ErrorCode"`  // Why it failed.
	Info    string `json:"ErrorInfo"`  // What was wrong, for people.
}

// A changeResponse is the answer of a command that changes users.
type changeResponse struct{ accountErrors }

// IsZero reports whether nothing failed.
func (r changeResponse) IsZero() bool { return len(r.ErrorList) == 0 }

// errorList returns failures as an answer shows them. The older family does not know
// them.
func errorList(c *gate.Caller, failures []audience.Failure) accountErrors {
	var list accountErrors
	if c.Older {
		return list
	}
	for _, f := range failures {
		list.ErrorList = append(list.ErrorList, accountError{f.Account, f.Err.Kind.Code, f.Err.Info()})
	}
	return list
}

// attrs are the attributes of a user, by name, in slot order.
type attrs struct {
	names  *audience.Attributes
	values audience.Values
}

func (attrs) shape() reflect.Type { return reflect.TypeFor[map[string]string]() }

// MarshalJSONTo writes the object.
func (a attrs) MarshalJSONTo(enc *jsontext.Encoder) error { return enc.WriteValue(a.append(nil)) }

func (a *attrs) append(b []byte) []byte {
	b = append(b, '{')
	for i, v := range a.values {
		if v == "" || a.names[i].Name == "" {
			continue
		}
		if b[len(b)-1] != '{' {
			b = append(b, ',')
		}
		b = append(gate.AppendText(b, a.names[i].Name), ':')
		b = gate.AppendText(b, v)
	}
	return append(b, '}')
}
