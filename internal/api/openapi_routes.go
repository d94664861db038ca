package api

import (
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	"tidings/internal/apierr"
	"tidings/internal/device"
	"tidings/internal/gate"
)

// routeSchemes are the ways in which a client app shows who it is.
var routeSchemes = object{
	{"appkey", object{
		{"type", "http"},
		{"scheme", "bearer"},
		{"description", "An AppKey of the app. It permits to make a device and nothing else."},
	}},
	{"devicesecret", object{
		{"type", "http"},
		{"scheme", "bearer"},
		{"description", "The DeviceSecret of the device, which the answer to its registration held."},
	}},
	{"userticket", object{
		{"type", "apiKey"},
		{"in", "header"},
		{"name", "Authorization"},
		{"description", "UserSig, a space, and a ticket of the user whom the device is bound to."},
	}},
}

// routeParameters are those of paths of client apps.
var routeParameters = object{{"RegistrationID", object{
	{"name", "id"},
	{"in", "path"},
	{"required", true},
	{"description", "The RegistrationID of the device."},
	{"schema", object{{"type", "string"}, {"minLength", device.MinIDBytes}, {"maxLength", device.MaxIDBytes}}},
}}}

// routePaths describes what client apps call.
func routePaths() (paths object) {
	for _, r := range Routes() {
		i := slices.IndexFunc(paths, func(m member) bool { return m.name == r.Path })
		if i < 0 {
			i, paths = len(paths), append(paths, member{r.Path, object{}})
		}
		paths[i].value = append(paths[i].value.(object), member{strings.ToLower(r.Method), routeOperation(r)})
	}
	return paths
}

func routeOperation(r gate.Route) object {
	security := []object{{{"devicesecret", []string{}}}, {{"userticket", []string{}}}}
	if r.Makes {
		security = []object{{{"appkey", []string{}}}}
	}
	parameters := []object{ref("parameters", "sdkappid")}
	if strings.Contains(r.Path, "{id}") {
		parameters = append(parameters, ref("parameters", routeParameters[0].name))
	}
	summary, _, _ := strings.Cut(r.Doc, ". ")
	o := object{
		{"operationId", strings.ReplaceAll(r.Name, "/", "_")},
		{"tags", []string{"v1"}},
		{"summary", strings.TrimSuffix(summary, ".")},
		{"description", r.Doc + " The body has at most " + size(r.Body.Bytes) + "."},
		{"x-effect", r.Effect.String()},
		{"security", security},
		{"parameters", parameters},
	}
	if request := RouteRequest(r); len(request.Fields) > 0 {
		o = append(o, member{"requestBody", object{
			{"required", true},
			{"content", jsonContent(request.schema(true), jsontext.Value(r.Example))},
		}})
	}
	return append(o, member{"responses", routeResponses(r)})
}

// routeResponses describes the answers of a route by their status.
func routeResponses(r gate.Route) object {
	done := http.StatusOK
	if r.Makes {
		done = http.StatusCreated
	}
	responses := object{{strconv.Itoa(done), object{
		{"description", "The call succeeded."},
		{"content", jsonContent(success(RouteAnswer(r)), nil)},
	}}}
	byStatus := map[int][]*apierr.Kind{}
	for _, k := range distinct(append(routeCommon(r), r.Codes...)) {
		byStatus[RouteStatus(k)] = append(byStatus[RouteStatus(k)], k)
	}
	for _, status := range slices.Sorted(maps.Keys(byStatus)) {
		response := object{{"description", http.StatusText(status)}}
		if header := routeHeader(status); header != nil {
			response = append(response, member{"headers", header})
		}
		schema := failed(codeSchema(byStatus[status], ""), nil)
		responses = append(responses, member{strconv.Itoa(status), append(response, member{"content", jsonContent(schema, nil)})})
	}
	return responses
}

// routeCommon returns the codes of the checks that a route shares with others.
func routeCommon(r gate.Route) []*apierr.Kind {
	kinds := clientFamily.Common()
	if r.Makes {
		kinds = append(kinds, apierr.BadAppKey, apierr.TooManyRegistrations)
	}
	return kinds
}

// routeHeader describes the headers that go with a status.
func routeHeader(status int) object {
	switch status {
	case http.StatusUnauthorized:
		return object{{"WWW-Authenticate", object{{"schema", object{{"type", "string"}}}}}}
	case http.StatusTooManyRequests, http.StatusServiceUnavailable:
		return object{{"Retry-After", object{
			{"description", "After how many seconds the call may be made again."},
			{"schema", object{{"type", "integer"}, {"minimum", 1}}},
		}}}
	}
	return nil
}
