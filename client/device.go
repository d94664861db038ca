package client

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"
)

// A Device is one installation of an app, seen from the side of the app: for tests, and for
// client programs in Go. ID and Secret are to be kept; with them [NewDevice] goes on. Calls
// are not repeated. A Device is safe for concurrent use.
type Device struct {
	ID     string // the RegistrationID
	Secret string // what all calls show; the server does not tell it again
	base   url.URL
	app    uint32
	http   *http.Client
}

// An Installation is what a device says of itself. All but Platform may be empty. Tokens that
// are not in a later one are given up.
type Installation struct {
	Platform      string  // android, ios, harmony, web
	Model         string  `json:",omitempty"`
	System        string  `json:",omitempty"`
	SystemVersion string  `json:",omitempty"`
	AppVersion    string  `json:",omitempty"`
	SDKVersion    string  `json:",omitempty"`
	PushVersion   string  `json:",omitempty"`
	Language      string  `json:",omitempty"` // BCP 47
	TimeZone      string  `json:",omitempty"` // such as Europe/Paris
	Permission    string  `json:",omitempty"` // allowed, denied
	Test          int     `json:",omitempty"` // 1: a device for tests
	Tokens        []Token `json:",omitempty"`
}

// A Token is one way to reach a device.
type Token struct {
	Certificate int    // of the app
	Kind        string `json:",omitempty"` // alert if empty
	Token       string
	LaID        string `json:"LaId,omitempty"`
	Environment string `json:",omitempty"` // production, sandbox
	Topic       string `json:",omitempty"`
	Expires     int64  `json:",omitempty"` // Unix seconds
}

// A Report says what happened to a push on a device.
type Report struct {
	ReportID string // what the push brought as "tidings"
	Event    string // arrived, clicked
}

// A DeviceError is the refusal of a call of a [Device].
type DeviceError struct {
	Status int
	Code   Code
	Info   string        // for people
	After  time.Duration // of Retry-After; 0: it will not help to wait
}

// Error returns status, code and info.
func (e *DeviceError) Error() string {
	return fmt.Sprintf("status %d: %d %s", e.Status, int(e.Code), e.Info)
}

// Unwrap returns the code, for errors.Is.
func (e *DeviceError) Unwrap() error { return e.Code }

// RegisterAnew reports whether the device is gone or the caller has lost it, so that the app
// has to register anew.
func (e *DeviceError) RegisterAnew() bool {
	return e.Status == http.StatusNotFound || e.Status == http.StatusUnauthorized && e.Code == ErrNotYourDevice
}

// NewDevice returns a device that was registered before. The HTTP client may be nil.
func NewDevice(baseURL string, sdkappid uint32, id, secret string, c *http.Client) (*Device, error) {
	base, err := url.Parse(baseURL)
	if err != nil || base.Host == "" || base.Scheme != "https" && base.Scheme != "http" {
		return nil, errors.New("client: the base URL is not an http or https URL with a host")
	}
	return &Device{ID: id, Secret: secret, base: *base, app: sdkappid, http: httpClient(c)}, nil
}

// RegisterDevice makes a device. The server makes a RegistrationID if id is empty. One that
// another device has is [ErrNotYourDevice], one that is a UserID [ErrRegistrationIDTaken].
func RegisterDevice(ctx context.Context, baseURL string, sdkappid uint32, appKey, id string, in Installation, c *http.Client) (*Device, error) {
	d, err := NewDevice(baseURL, sdkappid, "", appKey, c)
	if err != nil {
		return nil, err
	}
	body := struct {
		RegistrationID string `json:",omitempty"`
		Installation
	}{id, in}
	var out struct{ RegistrationID, DeviceSecret string }
	if err := d.call(ctx, http.MethodPost, nil, body, &out); err != nil {
		return nil, err
	}
	d.ID, d.Secret = out.RegistrationID, out.DeviceSecret
	return d, nil
}

// Refresh says again all that the device says of itself.
func (d *Device) Refresh(ctx context.Context, in Installation) error {
	return d.call(ctx, http.MethodPut, []string{d.ID}, in, nil)
}

// Remove removes the device.
func (d *Device) Remove(ctx context.Context) error {
	return d.call(ctx, http.MethodDelete, []string{d.ID}, nil, nil)
}

// Bind gives the device to a user, whose ticket the app got from its back end.
func (d *Device) Bind(ctx context.Context, userID, userSig string) error {
	return d.call(ctx, http.MethodPut, []string{d.ID, "user"}, map[string]string{"UserID": userID, "UserSig": userSig}, nil)
}

// Unbind takes the device from its user.
func (d *Device) Unbind(ctx context.Context) error {
	return d.call(ctx, http.MethodDelete, []string{d.ID, "user"}, nil, nil)
}

// SetBadge says which number the device shows, 0 to 9999.
func (d *Device) SetBadge(ctx context.Context, badge int) error {
	return d.call(ctx, http.MethodPut, []string{d.ID, "badge"}, map[string]int{"Badge": badge}, nil)
}

// Report says what happened to pushes, at most 20.
func (d *Device) Report(ctx context.Context, reports ...Report) error {
	return d.call(ctx, http.MethodPost, []string{d.ID, "reports"}, map[string][]Report{"Reports": reports}, nil)
}

// call makes a call. Errors show no secret: it is in no URL, and the server shows none.
func (d *Device) call(ctx context.Context, method string, path []string, in, out any) error {
	var body []byte
	if in != nil {
		var err error
		if body, err = json.Marshal(in); err != nil {
			return fmt.Errorf("client: %w", err)
		}
	}
	for i := range path {
		path[i] = url.PathEscape(path[i])
	}
	u := *d.base.JoinPath(append([]string{"v1", "devices"}, path...)...)
	u.RawQuery = "sdkappid=" + strconv.FormatUint(uint64(d.app), 10)
	req, err := http.NewRequestWithContext(ctx, method, u.String(), bytes.NewReader(body))
	if err != nil {
		return fmt.Errorf("client: %w", err)
	}
	req.Header.Set("Authorization", "Bearer "+d.Secret)
	req.Header.Set("Content-Type", "application/json; charset=utf-8")
	resp, err := d.http.Do(req)
	if err != nil {
		return fmt.Errorf("client: %w", err)
	}
	defer func() { _ = resp.Body.Close() }()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, MaxAnswerBytes))
	if err != nil {
		return fmt.Errorf("client: %w", err)
	}
	var e envelope
	if err := json.Unmarshal(answer, &e); err != nil || e.ErrorCode == nil {
		return &StatusError{Command: method + " /v1/devices", Status: resp.StatusCode}
	}
	if resp.StatusCode >= http.StatusMultipleChoices || *e.ErrorCode != 0 {
		after, _ := strconv.Atoi(resp.Header.Get("Retry-After")) // 0 if there is none
		return &DeviceError{resp.StatusCode, *e.ErrorCode, e.ErrorInfo, time.Duration(max(after, 0)) * time.Second}
	}
	if out != nil {
		if err := json.Unmarshal(answer, out); err != nil {
			return fmt.Errorf("client: %w", err)
		}
	}
	return nil
}
