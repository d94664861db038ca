package gate

import (
	"net/http"
	"slices"
	"strconv"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"tidings/internal/apierr"
)

// envelope begins every successful answer; with a brace it is the seed's whole.
const envelope = `{"ActionStatus":"OK","ErrorInfo":"","ErrorCode":0`

// encode writes the answer: the envelope, and after it the members of out if
// the command succeeded, or those that the command has if it failed. Contract: spec/conventions.md, 2.4.
func encode(out any, e *apierr.Error, refused, requestID string) []byte {
	b := make([]byte, 0, 256)
	if e != nil {
		b = append(b, `{"ActionStatus":"FAIL","ErrorInfo":`...)
		b = AppendText(b, e.Info())
		b = append(b, `,"ErrorCode":`...)
		b = strconv.AppendInt(b, int64(e.Kind.Code), 10)
		if refused != "" {
			b = append(append(b, ','), refused...)
		}
	} else {
		b = append(b, envelope...)
		if fast, ok := out.(Appender); ok {
			b = fast.AppendMembers(append(b, ','))
		} else if !isEmpty(out) {
			members, err := json.Marshal(out)
			if err != nil {
				return encode(nil, apierr.Internal.Because(err), refused, requestID)
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

// An Appender is an answer that writes its own members: the large ones, whose
// encoding by reflection was a third of their requests' work (BenchmarkHandler).
type Appender interface{ AppendMembers(b []byte) []byte }

// AppendText appends a JSON string.
func AppendText(b []byte, s string) []byte {
	b, _ = jsontext.AppendQuote(b, s) // an error means only that bytes not UTF-8 were replaced
	return b
}

// isEmpty reports whether a command has nothing to add to the envelope, as most
// have when all went well.
func isEmpty(out any) bool {
	switch out := out.(type) {
	case nil, struct{}:
		return true
	case interface{ IsZero() bool }:
		return out.IsZero()
	}
	return false
}

var (
	jsonType    = []string{"application/json; charset=utf-8"}
	contentType = "Content-Type"
)

// writeJSON sends an answer. A client that has gone away is nobody's failure.
func writeJSON(w http.ResponseWriter, status int, body []byte) {
	h := w.Header()
	h[contentType] = jsonType
	h["Content-Length"] = []string{strconv.Itoa(len(body))}
	if status != http.StatusOK {
		w.WriteHeader(status)
	}
	_, _ = w.Write(body)
}

// crossOrigin lets browsers of some origins in, and answers their preflight requests, which
// it reports. Contract: spec/conventions.md, 2.4.
func (g *Gate) crossOrigin(w http.ResponseWriter, r *http.Request, origins []string, methods, headers, exposed string) (preflight bool) {
	if len(origins) == 0 {
		return false
	}
	origin := r.Header.Get("Origin")
	if origin == "" || !slices.Contains(origins, origin) && !slices.Contains(origins, "*") {
		return false
	}
	h := w.Header()
	h.Set("Access-Control-Allow-Origin", origin)
	h.Set("Vary", "Origin")
	h.Set("Access-Control-Expose-Headers", exposed)
	if r.Method != http.MethodOptions || r.Header.Get("Access-Control-Request-Method") == "" {
		return false
	}
	h.Set("Access-Control-Allow-Methods", methods)
	h.Set("Access-Control-Allow-Headers", headers)
	h.Set("Access-Control-Max-Age", "600")
	w.WriteHeader(http.StatusNoContent)
	return true
}
