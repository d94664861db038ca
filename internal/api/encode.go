package api

import (
	"net/http"
	"runtime/debug"
	"slices"
	"strconv"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"tidings/internal/apierr"
	"tidings/internal/audience"
)

// envelope begins every successful answer; with a brace it is the seed's whole.
const envelope = `{"ActionStatus":"OK","ErrorInfo":"","ErrorCode":0`

// encode writes the answer: the envelope, and after it the members of out if
// the command succeeded. Contract: spec/conventions.md, 2.4.
func encode(out any, e *apierr.Error, requestID string) []byte {
	b := make([]byte, 0, 256)
	if e != nil {
		b = append(b, `{"ActionStatus":"FAIL","ErrorInfo":`...)
		b = appendText(b, e.Info())
		b = append(b, `,"ErrorCode":`...)
		b = strconv.AppendInt(b, int64(e.Kind.Code), 10)
	} else {
		b = append(b, envelope...)
		if fast, ok := out.(appender); ok {
			b = fast.appendMembers(append(b, ','))
		} else if !isEmpty(out) {
			members, err := json.Marshal(out)
			if err != nil {
				return encode(nil, apierr.Internal.Because(err), requestID)
			}
			if len(members) > len("{}") {
				b = slices.Grow(b, len(members)+32)
				b = append(b, ',')
				b = append(b, members[1:len(members)-1]...)
			}
		}
	}
	if requestID != "" {
		b = append(b, `,"RequestId":"`...)
		b = append(b, requestID...)
		b = append(b, '"')
	}
	return append(b, '}')
}

// appender is an answer that writes its own members: the large ones, whose
// encoding by reflection was a third of their requests' work (BenchmarkHandler).
type appender interface{ appendMembers(b []byte) []byte }

// appendText writes a JSON string.
func appendText(b []byte, s string) []byte {
	b, _ = jsontext.AppendQuote(b, s) // an error means only that bytes not UTF-8 were replaced
	return b
}

// isEmpty reports whether a command has nothing to add to the envelope, as most
// have when all went well.
func isEmpty(out any) bool {
	switch out := out.(type) {
	case nil, struct{}:
		return true
	case accountErrors:
		return len(out.ErrorList) == 0
	}
	return false
}

var (
	jsonType    = []string{"application/json; charset=utf-8"}
	contentType = "Content-Type"
)

// writeJSON sends an answer with status 200. A client that has gone away is
// nobody's failure.
func writeJSON(w http.ResponseWriter, body []byte) {
	h := w.Header()
	h[contentType] = jsonType
	h["Content-Length"] = []string{strconv.Itoa(len(body))}
	_, _ = w.Write(body)
}

// cors lets browsers of the configured origins in, and answers their preflight
// requests, which it tells. Contract: spec/conventions.md, 2.4.
func (s *Server) cors(w http.ResponseWriter, r *http.Request) (preflight bool) {
	if len(s.opts.CORSOrigins) == 0 {
		return false
	}
	origin := r.Header.Get("Origin")
	if origin == "" || !slices.Contains(s.opts.CORSOrigins, origin) && !slices.Contains(s.opts.CORSOrigins, "*") {
		return false
	}
	h := w.Header()
	h.Set("Access-Control-Allow-Origin", origin)
	h.Set("Vary", "Origin")
	h.Set("Access-Control-Expose-Headers", "X-Request-Id")
	if r.Method != http.MethodOptions || r.Header.Get("Access-Control-Request-Method") == "" {
		return false
	}
	h.Set("Access-Control-Allow-Methods", "POST")
	h.Set("Access-Control-Allow-Headers", "Content-Type, X-Requested-With")
	h.Set("Access-Control-Max-Age", "600")
	w.WriteHeader(http.StatusNoContent)
	return true
}

// accountErrors is the ErrorList of an answer, left out when nothing failed
// (spec/timpush-api.md, 2.5).
type accountErrors struct {
	ErrorList []accountError `json:",omitempty"`
}

type accountError struct {
	Account string `json:"To_Account"`
	Code    int    `json:"ErrorCode"`
	Info    string `json:"ErrorInfo"`
}

// errorList renders failures, which the older family does not know.
func (c *caller) errorList(failures []audience.Failure) accountErrors {
	var list accountErrors
	if c.Legacy {
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
		b = append(appendText(b, a.names[i].Name), ':')
		b = appendText(b, v)
	}
	return append(b, '}')
}

func stack() string { return string(debug.Stack()) }
