#!/usr/bin/env bash
# What "strongroom demo hospitals" did, attacks aside, line by line, in a new folder:
#
#   bash by-hand.sh FOLDER
#
# Or open a terminal, make a folder, and type the lines. Who would type them in real life
# stands above them. INSECURE: the rooms run on the dev platform, which keeps nobody out.
set -euo pipefail
PATH='{{bin}}':$PATH
world='{{world}}'    # what the demo left: the unfilled agreement and the hospitals' patients
mkdir "${1:?usage: bash by-hand.sh FOLDER}"
cd "$1"
trap 'kill $(jobs -p); wait' EXIT    # the servers
listens() { until (exec 3<>"/dev/tcp/${1%:*}/${1#*:}") 2>/dev/null; do sleep 0.1; done; }

# Each party makes itself known, and checks the others' fingerprints.
strongroom --home alpha party init --name alpha-hospital --title 'Alpha Hospital' --domain alpha-hospital.example --broker-address {{alpha}} --operator 'Alpha Hospital, in house'
strongroom --home beta party init --name beta-hospital --title 'Beta Hospital' --domain beta-hospital.example --broker-address {{beta}} --operator 'Beta Hospital, in house'
strongroom --home researcher party init --name researcher --title 'Institute of Research' --domain researcher.example --no-data
strongroom --home alpha party show --out alpha.party.json
strongroom --home beta party show --out beta.party.json
strongroom --home researcher party show --out researcher.party.json
strongroom --home alpha party add beta.party.json --checked 'fingerprint read out on the telephone'
strongroom --home alpha party add researcher.party.json --checked 'fingerprint read out on the telephone'
strongroom --home beta party add alpha.party.json --checked 'fingerprint read out on the telephone'
strongroom --home beta party add researcher.party.json --checked 'fingerprint read out on the telephone'
strongroom --home researcher party add alpha.party.json --checked 'fingerprint read out on the telephone'
strongroom --home researcher party add beta.party.json --checked 'fingerprint read out on the telephone'

# Whoever runs the shared ledger starts it; it takes the logs of both brokers.
alphalog=$(strongroom --home alpha party show | sed -n 's/^ *log key *//p')
betalog=$(strongroom --home beta party show | sed -n 's/^ *log key *//p')
strongroom ledger serve --dir ledger --listen {{ledger}} --origin ledger.example --witness "$alphalog" --witness "$betalog" &
listens {{ledger}}
ledgerkey=$(strongroom ledger show ledger | sed -n 's/^Key *//p')

# The host says which root signs for its rooms, and what they measure.
root=$(strongroom --home host host root)
agent=$(strongroom image measure --platform dev | sed -n 's/^agent: //p')
helper=$(strongroom image measure --platform dev | sed -n 's/^helper.strongroom-sql: //p')

# The agreement: what stands in angle brackets is filled in, then all sign it.
fingerprint() { echo "sha384:$(strongroom --home "$1" party show | sed -n 's/^ *fingerprint *//p' | tr -d ' ')"; }
sed -e "s|<from>|$(date -u +%Y-%m-%dT%H:%M:%SZ)|" -e "s|<until>|$(date -u -d '1 year' +%Y-%m-%dT%H:%M:%SZ)|" \
    -e "s|<alpha>|$(fingerprint alpha)|" -e "s|<beta>|$(fingerprint beta)|" -e "s|<researcher>|$(fingerprint researcher)|" \
    -e "s|<root>|$root|" -e "s|<agent>|$agent|" -e "s|<helper>|$helper|" -e "s|<ledger>|$ledgerkey|" "$world/agreement.yaml" > study.yaml
strongroom --home alpha agreement check study.yaml
strongroom --home alpha agreement explain study.yaml
strongroom --home alpha agreement sign study.yaml --out study.json --yes
strongroom --home beta agreement sign study.json --yes
strongroom --home researcher agreement sign study.json --yes
strongroom --home alpha agreement activate study.json
strongroom --home beta agreement activate study.json

# Each hospital seals its patients; the host gets the sealed files.
mkdir data
strongroom --home alpha dataset publish "$world/alpha/alpha.csv" --dataset tumours --schema study.json --out data
strongroom --home beta dataset publish "$world/beta/beta.csv" --dataset tumours --schema study.json --out data

# Each hospital runs its own broker, and the host serves rooms.
strongroom --home alpha broker serve --listen {{alpha}} --insecure-allow-software --witness "http://{{ledger}}=$ledgerkey" --peer "${betalog%%+*}=http://{{beta}}" &
strongroom --home beta broker serve --listen {{beta}} --insecure-allow-software --witness "http://{{ledger}}=$ledgerkey" --peer "${alphalog%%+*}=http://{{alpha}}" &
strongroom --home host host serve --listen {{host}} --data data --ledger ledger.example=http://{{ledger}} &
listens {{alpha}}
listens {{beta}}
listens {{host}}

# The researcher asks, opens what comes, and a stranger checks the proof.
{{questions}}
for file in results/*/*.age; do
    strongroom --home researcher open "$file"
    strongroom --home stranger receipt verify "${file%.age}.proof" --file "$file" --root "$root" --ledger "$ledgerkey" \
        --party alpha.party.json --party beta.party.json --party researcher.party.json
done
tail -n +1 results/*/*.csv
