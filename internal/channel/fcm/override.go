package fcm

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
)

// CheckOverride returns why an override of FCM's message (Overrides.Fcm) cannot be. Whom a
// message is for cannot be overridden, nor the report id. It names the member, for the API
// to show.
func CheckOverride(patch json.RawMessage) error {
	var m map[string]json.RawMessage
	if err := json.Unmarshal(patch, &m); err != nil || m == nil {
		return errors.New("Overrides.Fcm is no JSON object")
	}
	for _, name := range []string{"token", "fid", "topic", "condition", "name"} {
		if _, found := m[name]; found {
			return fmt.Errorf("Overrides.Fcm.%s cannot be overridden", name)
		}
	}
	for _, name := range []string{"notification", "android", "apns", "webpush"} {
		if v, found := m[name]; found && string(v) != "null" && !strings.HasPrefix(string(v), "{") {
			return fmt.Errorf("Overrides.Fcm.%s is no JSON object", name)
		}
	}
	if v, found := m["android"]; found {
		if string(v) == "null" {
			return errors.New("Overrides.Fcm.android cannot be taken away")
		}
		if err := checkAndroid(v); err != nil {
			return err
		}
	}
	if v, found := m["webpush"]; found {
		if err := checkOwnData("webpush", v); err != nil {
			return err
		}
	}
	data, found := m["data"]
	if !found {
		return nil
	}
	return checkData(data)
}

// checkAndroid checks the one member of android that is looked into.
func checkAndroid(text json.RawMessage) error {
	var m map[string]json.RawMessage
	if err := json.Unmarshal(text, &m); err != nil {
		return errors.New("Overrides.Fcm.android is no JSON object")
	}
	if v, found := m["notification"]; found && string(v) != "null" && !strings.HasPrefix(string(v), "{") {
		return errors.New("Overrides.Fcm.android.notification is no JSON object")
	}
	return checkOwnData("android", text)
}

// checkOwnData refuses data of one kind of device alone: FCM sends it in place of the data of
// the message, and the report id is in that.
func checkOwnData(name string, text json.RawMessage) error {
	var m map[string]json.RawMessage
	if json.Unmarshal(text, &m) == nil && m["data"] != nil {
		return fmt.Errorf("Overrides.Fcm.%s.data cannot be overridden, since it takes the place of the report id; use Overrides.Fcm.data", name)
	}
	return nil
}

// checkData checks what is merged into data, whose values are strings, and some of whose
// names FCM keeps for itself (spec/channels.md, 5).
func checkData(text json.RawMessage) error {
	var data map[string]any
	if err := json.Unmarshal(text, &data); err != nil || data == nil {
		return errors.New("Overrides.Fcm.data is no JSON object")
	}
	for name, value := range data {
		switch _, ok := value.(string); {
		case name == dataReport:
			return fmt.Errorf("Overrides.Fcm.data.%s cannot be overridden", name)
		case name == "from", name == "message_type", strings.HasPrefix(name, "google."), strings.HasPrefix(name, "gcm."):
			return fmt.Errorf("Overrides.Fcm.data.%.100s is a name that FCM keeps for itself", name)
		case !ok && value != nil:
			return fmt.Errorf("Overrides.Fcm.data.%.100s is no string", name)
		}
	}
	return nil
}
