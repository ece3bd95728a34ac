package measure

import "fmt"

// Type is the type of an event (PFP, table 27).
type Type uint32

// The event types.
const (
	PrebootCert              Type = 0x00
	PostCode                 Type = 0x01
	NoAction                 Type = 0x03
	Separator                Type = 0x04
	Action                   Type = 0x05
	EventTag                 Type = 0x06
	SCRTMContents            Type = 0x07
	SCRTMVersion             Type = 0x08
	CPUMicrocode             Type = 0x09
	PlatformConfigFlags      Type = 0x0a
	TableOfDevices           Type = 0x0b
	CompactHash              Type = 0x0c
	IPL                      Type = 0x0d
	IPLPartitionData         Type = 0x0e
	NonhostCode              Type = 0x0f
	NonhostConfig            Type = 0x10
	NonhostInfo              Type = 0x11
	OmitBootDeviceEvents     Type = 0x12
	PostCode2                Type = 0x13
	EFIVariableDriverConfig  Type = 0x80000001
	EFIVariableBoot          Type = 0x80000002
	EFIBootServicesApp       Type = 0x80000003
	EFIBootServicesDriver    Type = 0x80000004
	EFIRuntimeServicesDriver Type = 0x80000005
	EFIGPTEvent              Type = 0x80000006
	EFIAction                Type = 0x80000007
	EFIFirmwareBlob          Type = 0x80000008
	EFIHandoffTables         Type = 0x80000009
	EFIFirmwareBlob2         Type = 0x8000000a
	EFIHandoffTables2        Type = 0x8000000b
	EFIVariableBoot2         Type = 0x8000000c
	EFIGPTEvent2             Type = 0x8000000d
	EFIHCRTMEvent            Type = 0x80000010
	EFIVariableAuthority     Type = 0x800000e0
	EFISPDMFirmwareBlob      Type = 0x800000e1
	EFISPDMFirmwareConfig    Type = 0x800000e2
	EFISPDMDevicePolicy      Type = 0x800000e3
	EFISPDMDeviceAuthority   Type = 0x800000e4
)

// typeInfo is a type's name in the specification, and whether its digest must be the hash of
// the event's data (PFP, table 27, column "digest").
type typeInfo struct {
	name   string
	hashed bool
}

// types are the event types known here.
//
// constant: a table that is never written.
var types = map[Type]typeInfo{
	PrebootCert:              {"EV_PREBOOT_CERT", false},
	PostCode:                 {"EV_POST_CODE", false},
	NoAction:                 {"EV_NO_ACTION", false},
	Separator:                {"EV_SEPARATOR", true},
	Action:                   {"EV_ACTION", true},
	EventTag:                 {"EV_EVENT_TAG", false},
	SCRTMContents:            {"EV_S_CRTM_CONTENTS", false},
	SCRTMVersion:             {"EV_S_CRTM_VERSION", true},
	CPUMicrocode:             {"EV_CPU_MICROCODE", false},
	PlatformConfigFlags:      {"EV_PLATFORM_CONFIG_FLAGS", false},
	TableOfDevices:           {"EV_TABLE_OF_DEVICES", false},
	CompactHash:              {"EV_COMPACT_HASH", false},
	IPL:                      {"EV_IPL", false},
	IPLPartitionData:         {"EV_IPL_PARTITION_DATA", false},
	NonhostCode:              {"EV_NONHOST_CODE", false},
	NonhostConfig:            {"EV_NONHOST_CONFIG", false},
	NonhostInfo:              {"EV_NONHOST_INFO", false},
	OmitBootDeviceEvents:     {"EV_OMIT_BOOT_DEVICE_EVENTS", true},
	PostCode2:                {"EV_POST_CODE2", false},
	EFIVariableDriverConfig:  {"EV_EFI_VARIABLE_DRIVER_CONFIG", true},
	EFIVariableBoot:          {"EV_EFI_VARIABLE_BOOT", false},
	EFIBootServicesApp:       {"EV_EFI_BOOT_SERVICES_APPLICATION", false},
	EFIBootServicesDriver:    {"EV_EFI_BOOT_SERVICES_DRIVER", false},
	EFIRuntimeServicesDriver: {"EV_EFI_RUNTIME_SERVICES_DRIVER", false},
	EFIGPTEvent:              {"EV_EFI_GPT_EVENT", true},
	EFIAction:                {"EV_EFI_ACTION", true},
	EFIFirmwareBlob:          {"EV_EFI_PLATFORM_FIRMWARE_BLOB", false},
	EFIHandoffTables:         {"EV_EFI_HANDOFF_TABLES", false},
	EFIFirmwareBlob2:         {"EV_EFI_PLATFORM_FIRMWARE_BLOB2", false},
	EFIHandoffTables2:        {"EV_EFI_HANDOFF_TABLES2", false},
	EFIVariableBoot2:         {"EV_EFI_VARIABLE_BOOT2", true},
	EFIGPTEvent2:             {"EV_EFI_GPT_EVENT2", false},
	EFIHCRTMEvent:            {"EV_EFI_HCRTM_EVENT", false},
	EFIVariableAuthority:     {"EV_EFI_VARIABLE_AUTHORITY", true},
	EFISPDMFirmwareBlob:      {"EV_EFI_SPDM_FIRMWARE_BLOB", false},
	EFISPDMFirmwareConfig:    {"EV_EFI_SPDM_FIRMWARE_CONFIG", false},
	EFISPDMDevicePolicy:      {"EV_EFI_SPDM_DEVICE_POLICY", true},
	EFISPDMDeviceAuthority:   {"EV_EFI_SPDM_DEVICE_AUTHORITY", true},
}

// String gives the specification's name, or the number in hex.
func (t Type) String() string {
	if i, ok := types[t]; ok {
		return i.name
	}
	return fmt.Sprintf("event type 0x%08x", uint32(t))
}

func (t Type) known() bool {
	_, ok := types[t]
	return ok
}
