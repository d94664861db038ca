package api

import (
	"net/http"
	"time"

	"tidings/internal/apierr"
	"tidings/internal/gate"
)

// clientFamily is what client apps call: strict, since whoever writes a client learns of a
// misspelt member at once, and answered with a status of HTTP, since an app should not need
// to know our codes. What is no reply here is 400: the request must change first.
//
// 404 is for one thing: whoever shows the secret of a device that is not there any more.
// All others who call for a device that is not theirs get 401 whether it exists or not, so
// that a stranger does not learn which RegistrationIDs exist.
var clientFamily = &gate.Family{
	NotAdmin: apierr.NotYourDevice, BadJSON: apierr.BadJSON, BadField: apierr.BadJSON, BadAccount: apierr.BadJSON,
	TooLarge: apierr.BodyTooLarge, Timeout: apierr.PushTimeout, Internal: apierr.Internal, Strict: true, Secret: true,
	Replies: map[*apierr.Kind]gate.Reply{
		apierr.BadAppKey:         {Status: http.StatusUnauthorized},
		apierr.NotYourDevice:     {Status: http.StatusUnauthorized},
		apierr.TicketExpired:     {Status: http.StatusUnauthorized},
		apierr.TicketEmpty:       {Status: http.StatusUnauthorized},
		apierr.TicketMalformed:   {Status: http.StatusUnauthorized},
		apierr.TicketForged:      {Status: http.StatusUnauthorized},
		apierr.TicketIdentifier:  {Status: http.StatusUnauthorized},
		apierr.TicketSDKAppID:    {Status: http.StatusUnauthorized},
		apierr.NoKey:             {Status: http.StatusUnauthorized},
		apierr.TicketInvalidated: {Status: http.StatusUnauthorized},
		apierr.AccountBlocked:    {Status: http.StatusUnauthorized},

		apierr.UnknownAccount: {Status: http.StatusNotFound},

		apierr.RegistrationIDTaken: {Status: http.StatusConflict},
		apierr.WrongAccountKind:    {Status: http.StatusConflict},
		apierr.ReimportTooSoon:     {Status: http.StatusConflict},

		apierr.BodyTooLarge: {Status: http.StatusRequestEntityTooLarge},

		apierr.TooManyRegistrations: {Status: http.StatusTooManyRequests, Later: time.Second},
		apierr.TicketThrottled:      {Status: http.StatusTooManyRequests, Later: time.Minute},

		apierr.Overloaded:     {Status: http.StatusServiceUnavailable, Later: time.Second},
		apierr.Timeout:        {Status: http.StatusServiceUnavailable, Later: time.Second},
		apierr.PushTimeout:    {Status: http.StatusServiceUnavailable, Later: time.Second},
		apierr.Internal:       {Status: http.StatusServiceUnavailable, Later: 10 * time.Second},
		apierr.AppDisabled:    {Status: http.StatusServiceUnavailable, Later: 5 * time.Minute},
		apierr.AppSuspended:   {Status: http.StatusServiceUnavailable, Later: 5 * time.Minute},
		apierr.AccountLimit:   {Status: http.StatusServiceUnavailable, Later: time.Hour},
		apierr.TooManyDevices: {Status: http.StatusServiceUnavailable, Later: time.Hour},
	},
}

// routeBody is the most that a request of a client app may have: room for the eight tokens
// of a device, unless all are of the largest size.
var routeBody = gate.Limit{Bytes: 16 << 10}

// routes is what client apps call.
func routes(s *Server) []gate.Route {
	const one = "/v1/devices/{id}"
	rows := []gate.Route{
		{
			Name: "v1/register", Method: http.MethodPost, Path: "/v1/devices", Makes: true, Effect: gate.Once,
			Codes:   codes(apierr.NotYourDevice, apierr.RegistrationIDTaken, apierr.AccountLimit, apierr.TooManyDevices),
			Example: `{"Platform":"android","Model":"Pixel 9","System":"Android","SystemVersion":"16","AppVersion":"3.1","Language":"fr-FR","TimeZone":"Europe/Paris","Permission":"allowed"}`,
			Run:     gate.Func(s.registerDevice),
		},
		{
			Name: "v1/refresh", Method: http.MethodPut, Path: one, Effect: gate.Repeatable,
			Codes:   codes(apierr.NotYourDevice, apierr.UnknownAccount),
			Example: `{"Platform":"android","AppVersion":"3.2","Language":"fr-FR","Permission":"allowed"}`,
			Run:     gate.Func(s.refreshDevice),
		},
		{
			Name: "v1/remove", Method: http.MethodDelete, Path: one, Effect: gate.Repeatable,
			Codes: codes(apierr.NotYourDevice, apierr.UnknownAccount), Run: gate.Func(s.deleteDevice),
		},
		{
			Name: "v1/bind", Method: http.MethodPut, Path: one + "/user", Effect: gate.Repeatable,
			Codes:   codes(apierr.NotYourDevice, apierr.UnknownAccount, apierr.WrongAccountKind, apierr.AccountLimit, apierr.ReimportTooSoon),
			Example: `{"UserID":"Mary","UserSig":"eJw..."}`, Run: gate.Func(s.bindDevice),
		},
		{
			Name: "v1/unbind", Method: http.MethodDelete, Path: one + "/user", Effect: gate.Repeatable,
			Codes: codes(apierr.NotYourDevice, apierr.UnknownAccount), Run: gate.Func(s.unbindDevice),
		},
		{
			Name: "v1/badge", Method: http.MethodPut, Path: one + "/badge", Effect: gate.Repeatable,
			Codes: codes(apierr.NotYourDevice, apierr.UnknownAccount), Example: `{"Badge":0}`, Run: gate.Func(s.setBadge),
		},
		{
			Name: "v1/report", Method: http.MethodPost, Path: one + "/reports", Effect: gate.Repeatable,
			Codes:   codes(apierr.NotYourDevice, apierr.UnknownAccount),
			Example: `{"Reports":[{"ReportID":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA","Event":"clicked"}]}`,
			Run:     gate.Func(s.reportEvents),
		},
	}
	for i := range rows {
		rows[i].Doc, rows[i].Body = docs.Commands[rows[i].Name], routeBody
	}
	return rows
}

// Routes returns the rows of what client apps call, for documents.
func Routes() []gate.Route { return routes(&Server{}) }

// RouteRequest returns the shape of the body of a route.
func RouteRequest(r gate.Route) Shape {
	return shapeOf(r.Run.In, shaping{request: true, strict: true})
}

// RouteAnswer returns the shape of what the answer of a route holds besides the envelope.
func RouteAnswer(r gate.Route) Shape { return shapeOf(r.Run.Out, shaping{}) }

// RouteStatus returns the HTTP status of a failure of a route.
func RouteStatus(k *apierr.Kind) int { return clientFamily.Reply(k).Status }
