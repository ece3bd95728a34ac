package cloud

const generated = "<!-- strongroom image recipe writes this page -->\n\n"

const azure = generated + `# A room image on Azure

Confidential virtual machines of the sizes DCasv5 and DCasv6 (AMD SEV-SNP) or DCesv6 (Intel TDX). Microsoft's
paravisor runs in the machine's most privileged level and gives it a TPM; evidence is the hardware's
report about the paravisor, and that TPM's quote about the rest (spec/tpm.md, section 4).

@CHANNEL@
## Convert and upload

` + "```" + `
strongroom image recipe azure @IMAGE@ --disk @DISK@
az group create --name strongroom --location westeurope
az disk create --resource-group strongroom --name room-upload --location westeurope --os-type Linux \
    --hyper-v-generation V2 --sku Standard_LRS --upload-type Upload --upload-size-bytes "$(stat -c %s @DISK@)"
azcopy copy @DISK@ "$(az disk grant-access --resource-group strongroom --name room-upload --access-level Write \
    --duration-in-seconds 3600 --query accessSAS --output tsv)" --blob-type PageBlob
az disk revoke-access --resource-group strongroom --name room-upload
az image create --resource-group strongroom --name room --os-type Linux --hyper-v-generation V2 \
    --source "$(az disk show --resource-group strongroom --name room-upload --query id --output tsv)"
az sig create --resource-group strongroom --gallery-name rooms
az sig image-definition create --resource-group strongroom --gallery-name rooms --gallery-image-definition room \
    --publisher strongroom --offer room --sku room --os-type Linux --os-state Generalized --hyper-v-generation V2 \
    --architecture x64 --features SecurityType=ConfidentialVmSupported
az sig image-version create --resource-group strongroom --gallery-name rooms --gallery-image-definition room \
    --gallery-image-version 1.0.0 --managed-image room
` + "```" + `

The size of a virtual hard disk without its footer must be whole MiB; the conversion sees to it.

## Launch

` + "```" + `
az vm create --resource-group strongroom --name room-1 --size Standard_DC2as_v5 \
    --security-type ConfidentialVM --os-disk-security-encryption-type VMGuestStateOnly \
    --enable-vtpm true --enable-secure-boot false --public-ip-address "" --nsg "" \
    --admin-username unused --generate-ssh-keys \
    --image "$(az sig image-version show --resource-group strongroom --gallery-name rooms \
        --gallery-image-definition room --gallery-image-version 1.0.0 --query id --output tsv)"
az vm boot-diagnostics get-boot-log --resource-group strongroom --name room-1
` + "```" + `

Nobody can log in: there is no shell in the image and no agent of Azure's, so the portal shows the machine
as not provisioned. Secure Boot is off because the image is pinned by its measurements, and signed by nobody.

## What a broker will see

@VALUES@
The launch ` + "`measurement`" + ` of the hardware is that of Microsoft's paravisor; take it from evidence of one boot,
or from Microsoft's signed reference (spec/reference-values.md): PCRs mean nothing without it.
`

const gcp = generated + `# A room image on Google Cloud

Confidential virtual machines on N2D and C3D (AMD SEV-SNP) or C3 (Intel TDX). The launch measurement is that of
Google's firmware and of the processors' first state; a TPM of Google's hypervisor measures what boots.

@CHANNEL@
## Convert and upload

` + "```" + `
strongroom image recipe gcp @IMAGE@ --disk @DISK@
gcloud storage buckets create gs://YOUR-BUCKET --location europe-west4
gcloud storage cp @DISK@ gs://YOUR-BUCKET/room.tar.gz
gcloud compute images create room --source-uri gs://YOUR-BUCKET/room.tar.gz --architecture X86_64 \
    --guest-os-features UEFI_COMPATIBLE,SEV_SNP_CAPABLE,TDX_CAPABLE,GVNIC
` + "```" + `

Google takes an archive with one file, disk.raw, of whole GiB; the conversion sees to both.

## Launch

` + "```" + `
gcloud compute instances create room-1 --zone europe-west4-a --image room \
    --machine-type n2d-standard-@VCPUS@ --min-cpu-platform "AMD Milan" --confidential-compute-type SEV_SNP \
    --maintenance-policy TERMINATE --no-shielded-secure-boot --shielded-vtpm \
    --no-address --no-service-account --no-scopes
gcloud compute instances get-serial-port-output room-1 --zone europe-west4-a
` + "```" + `

For Intel TDX: ` + "`--machine-type c3-standard-4 --confidential-compute-type TDX`" + `, without ` + "`--min-cpu-platform`" + `.

## What a broker will see

@VALUES@
The launch digest follows from Google's firmware, which it publishes and signs by that digest
(` + "`gs://gce_tcb_integrity/ovmf_x64_csm`" + `), and from the number of processors:

` + "```" + `
strongroom image measure --platform snp --vmm gce --firmware GOOGLES-FIRMWARE.fd --vcpus @VCPUS@
` + "```" + `
`

const aws = generated + `# A room image on AWS

Machines of the families M6a, C6a and R6a with AMD SEV-SNP turned on, in the regions that offer it. The launch
measurement is that of Amazon's firmware and of the processors' first state; a NitroTPM measures what boots.

@CHANNEL@
## Convert and upload

` + "```" + `
strongroom image recipe aws @IMAGE@ --disk @DISK@
aws s3 cp @DISK@ s3://YOUR-BUCKET/room.raw
aws ec2 import-snapshot --disk-container Format=RAW,UserBucket='{S3Bucket=YOUR-BUCKET,S3Key=room.raw}'
aws ec2 describe-import-snapshot-tasks --query 'ImportSnapshotTasks[].SnapshotTaskDetail.[Status,SnapshotId]'
aws ec2 register-image --name room --architecture x86_64 --virtualization-type hvm --boot-mode uefi \
    --tpm-support v2.0 --ena-support --imds-support v2.0 --root-device-name /dev/xvda \
    --block-device-mappings 'DeviceName=/dev/xvda,Ebs={SnapshotId=SNAPSHOT,VolumeType=gp3}'
` + "```" + `

## Launch

` + "```" + `
aws ec2 run-instances --region us-east-2 --image-id IMAGE --instance-type @AWSTYPE@ \
    --cpu-options AmdSevSnp=enabled --metadata-options HttpEndpoint=disabled
aws ec2 get-console-output --latest --output text --instance-id INSTANCE
` + "```" + `

## What a broker will see

@VALUES@
The launch digest follows from Amazon's firmware, which it publishes with the way to build it
(github.com/aws/uefi), and from the number of processors:

` + "```" + `
strongroom image measure --platform snp --vmm ec2 --firmware ovmf_img.fd --vcpus @VCPUS@ --vcpu-type @MODEL@
` + "```" + `
`

const snp = generated + `# Rooms on a host of yours with AMD SEV-SNP

EPYC 7003 or newer with SEV-SNP turned on in its set-up, Linux 6.11 or newer, QEMU 9.1 or newer, and OVMF's AmdSev
build, whose launch digest covers the kernel's hash.

## Prepare

No stable release of Debian has that build: images are built without it unless their lock names it. The release that
Debian prepares has it (the package ovmf-amdsev of forky):

` + "```" + `
strongroom image lock --update --snp --lock snp.lock
strongroom image build --lock snp.lock -o @IMAGE@
strongroom doctor host --platform snp --image @IMAGE@
` + "```" + `

The last names what is missing, each with its mend. With a build from elsewhere, such as Fedora's OVMF.amdsev.fd, leave the lock as it
is, and give all commands ` + "`--firmware FILE`" + `.

## What a broker will see

@VALUES@
` + "```" + `
strongroom image measure @IMAGE@ --platform snp --vcpus @VCPUS@ --vcpu-type @MODEL@
` + "```" + `

prints it as an agreement lists it. It changes with the number of processors and with their model, not with
the size of memory. HOST_DATA is the agreement's short init data, set for each room.

## Launch

` + "```" + `
strongroom host serve --platform snp --image @IMAGE@ \
    --cpus @VCPUS@ --memory @MEMORY@ --data sealed --ledger ORIGIN=URL
` + "```" + `

For each room that starts, with sockets and the console's pipe instead of the paths below:

` + "```" + `
@COMMAND@
` + "```" + `
`

const tdx = generated + `# Rooms on a host of yours with Intel TDX

Xeon of the fifth generation or newer with TDX turned on in its set-up, Linux 6.16 or newer (or a
distribution's with TDX in its KVM), QEMU 10.1 or newer, and Intel's quote generation service: the host must
be registered with Intel (PCCS, mpa_registration_tool), or rooms start and get no quotes. The image has the firmware: OVMF
of Debian 13, which measures the kernel into RTMRs. Another's is named with ` + "`--firmware`" + `; it must not come with keys of
Secure Boot, as Debian's OVMF.inteltdx.ms.fd does, since room images are signed by nobody.

## Prepare

` + "```" + `
strongroom doctor host --platform tdx --image @IMAGE@
` + "```" + `

names what is missing, each with its mend.

## What a broker will see

@VALUES@
` + "```" + `
strongroom image measure @IMAGE@ --platform tdx --memory @MEMORY@
` + "```" + `

prints them as an agreement lists them. RTMR 0 also depends on the size of memory and on the ACPI tables that QEMU
makes for the machine (` + "`--acpi`" + `). MRCONFIGID is the agreement's init data, set for each room.

## Launch

` + "```" + `
strongroom host serve --platform tdx --image @IMAGE@ \
    --cpus @VCPUS@ --memory @MEMORY@ --data sealed --ledger ORIGIN=URL
` + "```" + `

For each room that starts, with sockets and the console's pipe instead of the paths below:

` + "```" + `
@COMMAND@
` + "```" + `
`
