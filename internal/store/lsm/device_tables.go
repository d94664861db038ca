package lsm

import (
	"encoding/binary"
	"fmt"

	"tidings/internal/device"
)

// versionKey is the key of a device as it was.
func versionKey(n, version uint32) []byte {
	return binary.BigEndian.AppendUint32(numberKey(n), version)
}

func checkNumber(key []byte) error {
	if len(key) != 4 {
		return fmt.Errorf("key of %d bytes, want 4", len(key))
	}
	return nil
}

func checkDevice(key, value []byte) error {
	if err := checkNumber(key); err != nil {
		return err
	}
	_, err := parseDeviceRecord(value)
	return err
}

func checkAddress(key, value []byte) error {
	if len(key) != hashBytes || len(value) != 4 {
		return fmt.Errorf("key of %d bytes and number of %d, want %d and 4", len(key), len(value), hashBytes)
	}
	return nil
}

func checkVersion(key, value []byte) error {
	if len(key) != 8 {
		return fmt.Errorf("key of %d bytes, want 8", len(key))
	}
	r, err := parseDeviceVersion(value)
	if err == nil && r.Version != binary.BigEndian.Uint32(key[4:]) {
		err = fmt.Errorf("is of version %d", r.Version)
	}
	return err
}

func checkRetired(key, value []byte) error {
	if err := checkNumber(key); err != nil {
		return err
	}
	list, err := parseRetired(value)
	if err == nil && (len(list) == 0 || len(list) > maxRetired) {
		err = fmt.Errorf("has %d retired tokens", len(list))
	}
	return err
}

func checkBadge(key, value []byte) error {
	if err := checkNumber(key); err != nil {
		return err
	}
	if len(value) != 2 || parseBadge(value) == 0 || parseBadge(value) > device.MaxBadge {
		return fmt.Errorf("is no badge: %x", value)
	}
	return nil
}

func parseBadge(value []byte) int {
	if len(value) != 2 {
		return 0
	}
	return int(binary.BigEndian.Uint16(value))
}
