package dcap

import "strongroom.dev/endorse"

// CollateralOf takes Intel's collateral out of endorsements.
func CollateralOf(set endorse.Set) Collateral {
	return Collateral{
		TCBInfos:     set.Data(endorse.IntelTCBInfo),
		Identities:   set.Data(endorse.IntelQEIdentity),
		Evaluations:  set.Data(endorse.IntelTCBEvaluation),
		Certificates: set.Certificates(),
		CRLs:         set.CRLs(),
	}
}
