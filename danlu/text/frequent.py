"""The characters that most of any text is written with, by script: they tell a right decoding from a wrong one.

A wrong one gives characters that exist, and are rare. The Chinese ones are the most frequent of modern texts,
simplified and traditional; the Korean syllables those of its particles, endings and commonest words.
"""

from __future__ import annotations

SIMPLIFIED = frozenset(
    "的一是不了人我在有他这中大来上国个到说们为子和你地出道也时年得就那要下以生会自着去之过家学对可她里后小么心多天而能好都然没"
    "日于起还发成事只作当想看文无开手十用主行方又如前所本见经头面公同三已老从动两长知民样现分将外但身些与高意进把法此实回二理美"
    "点月明其种声全工己话儿者向情部正名定女问力机给等几很业最间新什打便位因重被走电四第门相次东政海口使教西再平真听世气信北少关"
    "并内加化由却代军产入先山五太水万市眼体别处总才场师书比住员九笑性通目华报立马命张活难神数件安表原车白应路期叫死常提感金何更"
    "反合放做系计或司利受光王果亲界及今京务制解各任至清物台象记边共风战干接它许八特觉望直服毛林题建南度统色字请交爱让认算论百吃"
    "义科怎元社术结六功指思非流每青管夫连远资队跟带花快条院变联言权往展该领传近留红治决周保达办运武半候七必城父强步完革深区即求"
    "品士转量空甚众技轻程告江语英基派满式李息写呢识极令黄德收脸钱党倒未持取设始版双历越史商千片容研像找友孩站广改议形委早房音火"
    "际则首单据导影失拿网香似斯专石若兵弟谁校读志飞观争究包组造落视济喜离虽坏"
)
TRADITIONAL = frozenset(
    "的一是不了人我在有他這中大來上國個到說們為子和你地出道也時年得就那要下以生會自著去之過家學對可她裡裏後小麼心多天而能好都然沒"
    "日於起還發成事只作當想看文無開手十用主行方又如前所本見經頭面公同三已老從動兩長知民樣現分將外但身些與高意進把法此實回二理美"
    "點月明其種聲全工己話兒者向情部正名定女問力機給等幾很業最間新什打便位因重被走電四第門相次東政海口使教西再平真聽世氣信北少關"
    "並內加化由卻代軍產入先山五太水萬市眼體別處總才場師書比住員九笑性通目華報立馬命張活難神數件安表原車白應路期叫死常提感金何更"
    "反合放做系計或司利受光王果親界及今京務制解各任至清物台象記邊共風戰干接它許八特覺望直服毛林題建南度統色字請交愛讓認算論百吃"
    "義科怎元社術結六功指思非流每青管夫連遠資隊跟帶花快條院變聯言權往展該領傳近留紅治決周保達辦運武半候七必城父強步完革深區即求"
    "品士轉量空甚眾技輕程告江語英基派滿式李息寫呢識極令黃德收臉錢黨倒未持取設始版雙歷越史商千片容研像找友孩站廣改議形委早房音火"
    "際則首單據導影失拿網香似斯專石若兵弟誰校讀志飛觀爭究包組造落視濟喜離雖壞欄檔啟註臺"
)
KANA = frozenset(map(chr, [*range(0x3041, 0x3097), *range(0x30A1, 0x30F7), 0x30FC]))
HANGUL = frozenset(
    "이다는을가에의고로하지은를한사어도기서자리나라있그대인것으시아해과들만게정일수거부전스보니면제여지상성장주구원비조문소트위"
    "오우유세계선진습합안무공동용았었했던러까와네요할때말더모생신화경적간연미관방중국내년월명개실학관행발치식물력분통표현재회입"
    "마바려며렇않없음및된될됩하십오류값필드추변삭저목록"
)
CYRILLIC = frozenset("оеаинтсрвл")
LATIN = tuple(  # a text is in one of them: together they would hold letters of languages in other encodings too
    frozenset(letters + letters.upper().replace("SS", "ẞ"))
    for letters in (
        "äöüßé",
        "éèàùâêîôûëïçœæ",
        "áéíóúüñªº",
        "ãõçáéíóúâêôàüªº",
        "àèéìòùî",
        "åäöøæé",
        "ëïéèöüáóê",
        "éèàçñöüïáíóø",
        "àèéíïòóúüç",
    )
)
"""By language or family: German, French, Spanish, Portuguese, Italian, the Nordic ones, Dutch, English's loans,
Catalan."""
SIGNS = frozenset("“”‘’„–—…«»‹›°£€©®·§¿¡•™×±½²\u00a0\u00ad")
"""Beyond letters, what a text in a Western single-byte encoding has."""
