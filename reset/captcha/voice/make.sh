#!/usr/bin/env bash
# Makes the clips of this folder anew: make.sh [FOLDER]. Needs espeak-ng and sox.
set -euo pipefail
cd "${1:-$(dirname "$0")}"

# [['a]] are phonemes: the voice reads the words a, e, de, te without stress, and á as "a acentuada".
say() {
    espeak-ng -v es-419 -s 160 --stdout "$2" |
        sox -R -D - -r 11025 -c 1 -b 8 -e unsigned-integer "$1.wav" \
            gain -4 highpass 80 silence 1 0.005 0.4% reverse silence 1 0.005 0.4% fade 0.01 reverse gain -n -1
}

letter() {
    say "$1" "$2, de $3"
}

letter upper_a "[['a]] mayúscula" árbol
letter lower_a "[['a]] minúscula" árbol
letter upper_d "[[d'e]] mayúscula" dedo
letter lower_e "[['e]] minúscula" elefante
letter upper_f "efe mayúscula" familia
letter lower_g "ge minúscula" gato
letter upper_h "hache mayúscula" hotel
letter lower_h "hache minúscula" hotel
letter upper_j "jota mayúscula" jirafa
letter upper_l "ele mayúscula" luna
letter upper_n "ene mayúscula" nube
letter upper_q "cu mayúscula" queso
letter upper_r "erre mayúscula" ratón
letter lower_r "erre minúscula" ratón
letter upper_t "[[t'e]] mayúscula" tomate
letter lower_t "[[t'e]] minúscula" tomate
letter upper_w "doble u mayúscula" wifi
letter upper_x "equis mayúscula" xilófono

say opening_6 "Escriba seis letras"
say opening_7 "Escriba siete letras"
say opening_8 "Escriba ocho letras"
say opening_9 "Escriba nueve letras"
say opening_10 "Escriba diez letras"
