"""What neither num2words nor CLDR says: how a language joins numbers to times, ranges and amounts."""

from cosyserve_words.languages.tables import table, words

BETWEEN = table(
    "ja=から ko=에서 de=bis fr=à es=a it=a pt=a nl=tot ru=до uk=до pl=do cs=až sk=až sv=till da=til no=til fi=viiva "
    "ro=la hu=viiva tr=ile id=sampai vi=đến ca=a sl=do sr=do be=да ar=إلى fa=تا he=עד th=ถึง el=έως lt=iki lv=līdz "
    "hi=से"
)
"""Between the ends of a range."""
HOURS = {
    "de": "{h} Uhr {m}",
    "fr": "{h} heures {m}",
    "nl": "{h} uur {m}",
    "pt": "{h} e {m}",
    "it": "{h} e {m}",
    "es": "{h} y {m}",
    "ru": "{h} часов {m} минут",
    "uk": "{h} година {m}",
    "vi": "{h} giờ {m} phút",
    "id": "{h} lewat {m}",
}
FULL_HOURS = {
    "de": "{h} Uhr",
    "fr": "{h} heures",
    "nl": "{h} uur",
    "ru": "{h} часов",
    "vi": "{h} giờ",
    "pt": "{h} horas",
    "id": "jam {h}",
}
ONE = table("de=ein es=un it=un fr=un pt=um nl=één ca=un")
"""One in front of what is counted."""
ONE_HOUR = table("de=ein fr=une pt=uma it=una es=una")
CENTS = {"de": " ", "fr": " ", "es": " con ", "it": " e ", "pt": " e ", "nl": " "}
"""Between euros and cents, where the name of the cents is left out."""
CENT_NAMES = table("de=Cent fr=centimes es=céntimos it=centesimi pt=cêntimos nl=cent")
WITH_CENTS = frozenset({"€", "EUR", "Euro", "euro", "euros"})
ON_DAY = frozenset(words("am vom zum dem den ab bis seit im der die das beim"))
NINETEEN_HUNDREDS = frozenset({"de", "nl", "sv", "da", "no"})
"""Languages whose years before 2000 are told in hundreds."""
YEARS = {
    "de": words(
        "im in seit von bis um nach vor ab zwischen und jahr jahre jahren anno sommer winter herbst frühling ende "
        "anfang mitte"
    ),
    "nl": words("in sinds van tot rond na voor vanaf tussen en jaar anno zomer winter einde begin"),
    "sv": words("i sedan från till år året sommaren vintern omkring"),
    "da": words("i siden fra til år året sommeren vinteren omkring"),
    "no": words("i siden fra til år året sommeren vinteren rundt"),
}
"""Words in front of a year."""
SIGNS = {
    "de": table(
        ".=Punkt ,=Komma @=at /=Schrägstrich :=Doppelpunkt -=minus _=Unterstrich #=Raute &=und ==gleich +=plus "
        "%=Prozent"
    ),
    "fr": table(
        ".=point ,=virgule @=arobase /=barre_oblique :=deux-points -=tiret _=tiret_bas #=dièse &=et ==égale +=plus"
    ),
    "es": table(".=punto ,=coma @=arroba /=barra :=dos_puntos -=guion _=guion_bajo #=almohadilla &=y ==igual_a +=más"),
    "it": table(
        ".=punto ,=virgola @=chiocciola /=barra :=due_punti -=trattino _=trattino_basso #=cancelletto &=e ==uguale_a "
        "+=più"
    ),
    "pt": table(
        ".=ponto ,=vírgula @=arroba /=barra :=dois_pontos -=hífen _=sublinhado #=cardinal &=e ==igual_a +=mais"
    ),
    "nl": table(
        ".=punt ,=komma @=apenstaartje /=schuine_streep :=dubbele_punt -=streepje _=laag_streepje #=hekje &=en ==is "
        "+=plus"
    ),
    "ru": table(".=точка ,=запятая @=собака /=слэш :=двоеточие -=дефис _=подчёркивание #=решётка &=и ==равно +=плюс"),
    "pl": table(".=kropka ,=przecinek @=małpa /=ukośnik :=dwukropek -=myślnik _=podkreślenie &=i ==równa_się +=plus"),
    "ja": table(
        "#tag=ハッシュタグ @=アットマーク .=ドット /=スラッシュ :=コロン -=ハイフン _=アンダーバー #=シャープ "
        "&=アンド ==イコール +=プラス %=パーセント ?=クエスチョン ~=チルダ *=アスタリスク"
    ),
    "ko": table(
        "#tag=해시태그 @=골뱅이 .=점 /=슬래시 :=콜론 -=대시 _=언더바 #=샵 &=앤드 ==는 +=더하기 %=퍼센트 ?=물음표 "
        "~=물결표 *=별표"
    ),
}
